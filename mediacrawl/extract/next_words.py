"""Texts of links to the next page in the common languages, and texts of links to other pages."""
# ruff: noqa: RUF001  letters of other scripts that look like ours are the point here

from __future__ import annotations

import re
import unicodedata

_NO_LETTER = re.compile(r"[\W_]+")


def letters(text: str) -> str:
    """Return a text as it is compared: no arrows, spaces or punctuation, no upper case, no wide forms."""
    return _NO_LETTER.sub("", unicodedata.normalize("NFKC", text).casefold())


ARROWS = frozenset({"›", ">", "→", "⟩", "❯", "▶", "►", "▸", "⇒", "➔", "⟶", "＞"})
DOUBLE_ARROWS = frozenset({"»", ">>", "≫", "››", "⟫", "＞＞"})


def _table(text: str) -> frozenset[str]:
    """Return the phrases between commas; the text before the colon of a line is the language."""
    lines = (line.partition(":")[2] for line in text.strip().splitlines())
    return frozenset(letters(phrase) for line in lines for phrase in line.split(","))


NEXT = _table("""
Arabic:     التالي, التالية, الصفحة التالية, الصفحه التاليه
Bulgarian:  следваща, следваща страница, напред
Catalan:    següent, pàgina següent
Chinese:    下一页, 下一頁, 下页, 下頁, 后一页, 後一頁, 下一张, 下一張, 下一章, 下一步
Croatian:   sljedeća, sljedeća stranica, sljedeće, iduća
Czech:      další, další stránka, následující, následující stránka, starší příspěvky
Danish:     næste, næste side, ældre indlæg
Dutch:      volgende, volgende pagina, oudere, oudere berichten
English:    next, next page, go to next page, go to the next page, next results, next posts, next entries
English:    older, older posts, older entries, older articles, older stories
English:    load more, more results, more posts
Esperanto:  sekva, sekva paĝo
Estonian:   järgmine, järgmine lehekülg
Finnish:    seuraava, seuraava sivu, vanhemmat
French:     suivant, suivante, suivants, suivantes, page suivante
French:     la page suivante, articles plus anciens, plus ancien
German:     weiter, nächste, nächste seite, zur nächsten seite
German:     ältere, ältere beiträge, ältere einträge, vorwärts
Greek:      επόμενη, επόμενη σελίδα, επόμενο, επόμενα, παλαιότερα
Hebrew:     הבא, הבאה, העמוד הבא, לעמוד הבא, לדף הבא
Hindi:      अगला, अगला पृष्ठ, अगला पेज, आगे
Hungarian:  következő, következő oldal, régebbi bejegyzések
Indonesian: berikutnya, selanjutnya, halaman berikutnya, halaman selanjutnya
Italian:    successivo, successiva, pagina successiva, avanti
Italian:    prossimo, prossima, prossima pagina, post più vecchi
Japanese:   次へ, 次, 次のページ, 次のページへ, 次ページ, 次ページへ, つぎへ, 次の画像
Korean:     다음, 다음 페이지, 다음페이지로, 다음으로
Latvian:    nākamā, nākamais, nākamā lapa
Lithuanian: kitas, kitas puslapis, toliau
Malay:      seterusnya, halaman seterusnya
Norwegian:  neste, neste side, eldre innlegg
Persian:    بعدی, صفحه بعد, صفحه بعدی, صفحهٔ بعد
Polish:     następna, następny, następne, następna strona, dalej, starsze posty, starsze wpisy
Portuguese: próximo, próxima, próximos, próxima página
Portuguese: seguinte, página seguinte, avançar, postagens mais antigas
Romanian:   următoarea, următorul, următor, pagina următoare, înainte
Russian:    следующая, следующий, следующая страница, след, далее, вперед, вперёд, дальше, старые записи
Serbian:    следећа, следећа страница, sledeća, sledeća stranica
Slovak:     ďalšia, ďalšia strana, ďalej, nasledujúca, nasledujúca strana
Slovenian:  naslednja, naslednja stran
Spanish:    siguiente, siguientes, página siguiente, siguiente página, próximo, próxima, entradas antiguas
Swedish:    nästa, nästa sida, äldre inlägg
Thai:       ถัดไป, หน้าถัดไป, ต่อไป
Turkish:    sonraki, sonraki sayfa, ileri, önceki yazılar
Ukrainian:  наступна, наступний, наступна сторінка, далі
Vietnamese: tiếp, tiếp theo, trang sau, trang tiếp, trang tiếp theo, trang kế
""")

# A class `next` or an arrow beside one of these texts is misleading: the link leads back, or to the last page.
OTHER = _table("""
Chinese:    上一页, 上一頁, 上页, 尾页, 尾頁, 末页, 末頁, 最后一页, 最後一頁
Dutch:      vorige, vorige pagina, laatste, nieuwere berichten
English:    previous, previous page, prev, back, newer
English:    newer posts, newer entries, last, last page, go to last page
English:    first, first page, end
French:     précédent, précédente, page précédente, dernier, dernière, dernière page, articles plus récents
German:     zurück, vorherige, vorherige seite, letzte, letzte seite, neuere beiträge
Italian:    precedente, pagina precedente, indietro, ultima, ultima pagina, ultimo
Japanese:   前へ, 前のページ, 最後, 最後へ, 最後のページ
Korean:     이전, 이전 페이지, 마지막, 마지막 페이지, 끝
Polish:     poprzednia, poprzednia strona, ostatnia, ostatnia strona
Portuguese: anterior, página anterior, última, última página
Russian:    предыдущая, предыдущая страница, назад, последняя, последняя страница, в конец
Spanish:    anterior, página anterior, última, última página, último, entradas más recientes
Swedish:    föregående, sista, sista sidan
Turkish:    önceki, önceki sayfa, son sayfa, son
""")

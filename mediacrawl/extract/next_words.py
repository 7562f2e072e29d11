"""Texts of links to the next page in the common languages, and texts of links to other pages."""
# ruff: noqa: RUF001  letters of other scripts that look like ours are the point here

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

_FIRST_WORDS = 4
_NUMBERS_OF_PAGE = 2  # as in "2/10"; a date has three
_DIGITS = re.compile(r"\d+")
_WITHOUT_BLANKS = ("次", "下一", "后一", "後一", "다음")  # in Chinese and Japanese no blank is between the words
_NO_LETTER = re.compile(r"[\W_]+")


def letters(text: str) -> str:
    """Return a text as it is compared: no arrows, spaces or punctuation, no upper case, no wide forms."""
    return _NO_LETTER.sub("", _folded(text))


class Meaning(NamedTuple):
    """What a short text of a link says, according to the tables.

    Attributes:
        letters: the text as it is compared.
        is_next: it is a phrase for the next page, with or without a number: "Next", "Next 20", "次の20件".
        begins_with_next: its first words are such a phrase, as in "Next: 21 to 40 of 90".
        is_more: it is a phrase for more of the same.
        is_other: it names the previous or the last page, or a step that is no page: "Next month".
        is_unclear: it says something else than "next", "more", or the number of a page.
    """

    letters: str
    is_next: bool
    begins_with_next: bool
    is_more: bool
    is_other: bool
    is_unclear: bool

    @classmethod
    def of(cls, text: str) -> Meaning:
        """Look a text up in the tables."""
        words = _NO_LETTER.split(_folded(text))
        compared = "".join(words)
        plain = _DIGITS.sub("", compared)
        is_next = compared in NEXT or plain in NEXT
        begins = is_next or _begins_with_next([word for word in words if word])
        is_other = compared in OTHER or plain in OTHER or not OTHER_STEPS.isdisjoint(words)
        if plain:
            says_page = is_next or (begins and OTHER_ITEMS.isdisjoint(words))
            is_unclear = not (says_page or plain in WORDS_FOR_PAGE or plain in MORE)
        else:
            is_unclear = len(_DIGITS.findall(text)) > _NUMBERS_OF_PAGE
        return cls(compared, is_next, begins, plain in MORE, is_other, is_unclear)


meaning_of = lru_cache(maxsize=4_096)(Meaning.of)  # the pages of a site have the same links around their contents


def _begins_with_next(words: list[str]) -> bool:
    if not words or words[0][:2] not in _BEGINNINGS:
        return False
    if words[0].startswith(_WITHOUT_BLANKS):
        return True
    return any("".join(words[:count]) in NEXT for count in range(1, min(len(words), _FIRST_WORDS) + 1))


def _folded(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


ARROWS = frozenset({"›", ">", "→", "⟩", "❯", "▶", "►", "▸", "⇒", "➔", "⟶", "＞"})
DOUBLE_ARROWS = frozenset({"»", ">>", "≫", "››", "⟫", "＞＞"})
# In a text from right to left these are drawn as they are, unlike brackets, which Unicode mirrors.
MIRRORED = str.maketrans("→←▶◀►◄▸◂⇒⇐⟶⟵", "←→◀▶◄►◂▸⇐⇒⟵⟶")


def _table(text: str) -> frozenset[str]:
    """Return the phrases between commas; the text before the colon of a line is the language."""
    lines = (line.partition(":")[2] for line in text.strip().splitlines())
    return frozenset(letters(phrase) for line in lines for phrase in line.split(","))


NEXT = _table("""
Arabic:     التالي, التالية, الصفحة التالية, الصفحه التاليه
Arabic:     تحميل المزيد
Bulgarian:  следваща, следваща страница, напред
Bulgarian:  зареди още
Catalan:    següent, pàgina següent
Catalan:    carrega'n més, carregar més
Chinese:    下一页, 下一頁, 下页, 下頁, 后一页, 後一頁, 下一张, 下一張, 下一章, 下一步
Chinese:    加载更多, 載入更多, 加載更多, 载入更多, 下一组, 后页, 後頁, 下一頁面, 下一页面
Croatian:   sljedeća, sljedeća stranica, sljedeće, iduća
Croatian:   učitaj više
Czech:      další, další stránka, následující, následující stránka, starší příspěvky
Czech:      načíst další, načíst více
Danish:     næste, næste side, ældre indlæg
Danish:     indlæs flere, hent flere
Dutch:      volgende, volgende pagina, oudere, oudere berichten
Dutch:      meer laden, laad meer, volgende resultaten
English:    next, next page, go to next page, go to the next page, next results, next posts, next entries
English:    older, older posts, older entries, older articles, older stories
English:    load more, more results, more posts
English:    load more results, load more posts, load more articles, load next, load next page, next items
English:    next entries, next photos, next images, next articles, next photo, next image, next picture
English:    next pictures, next events, next products, next videos
English:    on to page, continue to page, continue to next page, continue to the next page, next to page
Esperanto:  sekva, sekva paĝo
Esperanto:  ŝarĝi pli
Estonian:   järgmine, järgmine lehekülg
Estonian:   laadi rohkem, lae veel
Finnish:    seuraava, seuraava sivu, vanhemmat
Finnish:    lataa lisää, seuraavat
French:     suivant, suivante, suivants, suivantes, page suivante
French:     la page suivante, articles plus anciens, plus ancien
French:     charger plus, résultats suivants, photo suivante, photos suivantes, image suivante, images suivantes
German:     weiter, nächste, nächste seite, zur nächsten seite
German:     weiter zur seite, weiter zu seite, weiter auf seite, weiter zur nächsten seite
German:     ältere, ältere beiträge, ältere einträge, vorwärts
German:     mehr laden, weitere laden, weitere ergebnisse, nächsten, nächste ergebnisse, nächste einträge
German:     die nächsten, weitere bilder, weitere fotos, nächstes bild, nächste bilder, nächstes foto
Greek:      επόμενη, επόμενη σελίδα, επόμενο, επόμενα, παλαιότερα
Greek:      φόρτωση περισσότερων
Hebrew:     הבא, הבאה, העמוד הבא, לעמוד הבא, לדף הבא
Hebrew:     טען עוד
Hindi:      अगला, अगला पृष्ठ, अगला पेज, आगे
Hindi:      और लोड करें
Hungarian:  következő, következő oldal, régebbi bejegyzések
Hungarian:  továbbiak betöltése, több betöltése, következő találat
Indonesian: berikutnya, selanjutnya, halaman berikutnya, halaman selanjutnya
Indonesian: muat lebih banyak, muat lainnya
Italian:    successivo, successiva, pagina successiva, avanti
Italian:    prossimo, prossima, prossima pagina, post più vecchi
Italian:    carica altri, carica altro, carica di più, successivi, successive, prossimi
Japanese:   次へ, 次, 次のページ, 次のページへ, 次ページ, 次ページへ, つぎへ, 次の画像
Japanese:   次のページへ進む, 次のページに進む, 次へ進む, 次のページを見る
Japanese:   次の件, 次の件を表示, 次の件へ, もっと読み込む, さらに読み込む, 次を見る
Korean:     다음, 다음 페이지, 다음페이지로, 다음으로
Korean:     더 불러오기, 다음 개
Latvian:    nākamā, nākamais, nākamā lapa
Latvian:    ielādēt vairāk
Lithuanian: kitas, kitas puslapis, toliau
Lithuanian: įkelti daugiau
Malay:      seterusnya, halaman seterusnya
Malay:      muat lagi
Norwegian:  neste, neste side, eldre innlegg
Norwegian:  last inn flere, last inn mer
Persian:    بعدی, صفحه بعد, صفحه بعدی, صفحهٔ بعد
Persian:    بارگذاری بیشتر
Polish:     następna, następny, następne, następna strona, dalej, starsze posty, starsze wpisy
Polish:     załaduj więcej, wczytaj więcej
Portuguese: próximo, próxima, próximos, próxima página
Portuguese: seguinte, página seguinte, avançar, postagens mais antigas
Portuguese: carregar mais, próximas
Romanian:   următoarea, următorul, următor, pagina următoare, înainte
Romanian:   încarcă mai multe, încarcă mai mult
Russian:    следующая, следующий, следующая страница, след, далее, вперед, вперёд, дальше, старые записи
Russian:    загрузить ещё, загрузить еще, следующие
Serbian:    следећа, следећа страница, sledeća, sledeća stranica
Serbian:    učitaj još, учитај још
Slovak:     ďalšia, ďalšia strana, ďalej, nasledujúca, nasledujúca strana
Slovak:     načítať ďalšie, ďalšie
Slovenian:  naslednja, naslednja stran
Slovenian:  naloži več
Spanish:    siguiente, siguientes, página siguiente, siguiente página, próximo, próxima, entradas antiguas
Spanish:    cargar más, próximos, próximas
Swedish:    nästa, nästa sida, äldre inlägg
Swedish:    ladda fler, ladda mer
Thai:       ถัดไป, หน้าถัดไป, ต่อไป
Thai:       โหลดเพิ่มเติม, โหลดเพิ่ม
Turkish:    sonraki, sonraki sayfa, ileri, önceki yazılar
Turkish:    daha fazla yükle, sonrakiler
Ukrainian:  наступна, наступний, наступна сторінка, далі
Ukrainian:  завантажити ще, наступні
Vietnamese: tiếp, tiếp theo, trang sau, trang tiếp, trang tiếp theo, trang kế
Vietnamese: tải thêm
""")

_BEGINNINGS = frozenset(phrase[:length] for phrase in NEXT for length in (1, 2))  # most texts have none of these

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

# Texts of a button that loads more of the same list, and of many links that lead elsewhere.
MORE = _table("""
Arabic:     المزيد, عرض المزيد
Chinese:    更多, 查看更多, 显示更多, 顯示更多, 看更多
Czech:      více, zobrazit více, zobrazit další
Danish:     vis mere, vis flere, se mere, se flere
Dutch:      meer, toon meer, meer tonen, bekijk meer
English:    more, show more, view more, see more, more items, more photos, more images, more articles, more news
English:    more products, more pictures, more videos, load more products, load more items, load more photos
English:    load more images, load more videos, show more products, show more items, show more photos
English:    show more images, show more videos, show more results, show more posts, show more articles
English:    view more products, see more products
Finnish:    näytä lisää
French:     plus, voir plus, afficher plus, en voir plus
German:     mehr, mehr anzeigen, mehr zeigen, zeige mehr, weitere anzeigen
Greek:      περισσότερα
Hebrew:     עוד, הצג עוד
Hungarian:  több, mutass többet, továbbiak
Indonesian: lihat lainnya, lainnya, tampilkan lebih banyak
Italian:    mostra altri, mostra altro, mostra di più, vedi altri, altri
Japanese:   もっと, もっと見る, さらに見る, さらに表示
Korean:     더 보기, 더보기
Norwegian:  vis mer, vis flere, se mer
Persian:    بیشتر, نمایش بیشتر
Polish:     więcej, pokaż więcej, zobacz więcej
Portuguese: mais, mostrar mais, ver mais
Romanian:   mai multe, vezi mai multe, afișează mai mult
Russian:    ещё, еще, показать ещё, показать еще, больше
Spanish:    más, mostrar más, ver más
Swedish:    visa fler, visa mer, fler
Thai:       ดูเพิ่มเติม, แสดงเพิ่มเติม
Turkish:    daha fazla, daha fazla göster
Ukrainian:  ще, показати ще, показати більше
Vietnamese: xem thêm
""")

# "Page", as in "go to page 2": says nothing against a link.
WORDS_FOR_PAGE = _table("""
Arabic:     صفحة, الصفحة
Chinese:    页, 第页, 頁, 第頁
Czech:      strana, stránka, na stránku
Danish:     side, gå til side
Dutch:      ga naar pagina
English:    page, go to page, goto page, go to the page, page of, view page
Finnish:    sivu
French:     aller à la page, vers la page
German:     seite, zu seite, zur seite, gehe zu seite
Greek:      σελίδα
Hebrew:     עמוד, דף
Hungarian:  oldal
Indonesian: halaman
Italian:    pagina, vai alla pagina, vai a pagina
Japanese:   ページ, ページ目, ページ目へ, ページへ
Korean:     페이지, 쪽
Persian:    صفحه
Polish:     strona
Portuguese: ir para a página
Russian:    страница, стр, на страницу
Spanish:    página, ir a la página
Swedish:    sida, sidan
Thai:       หน้า
Turkish:    sayfa
Ukrainian:  сторінка
Vietnamese: trang
""")

# Words of links that go on, but not to a page of the list.
OTHER_STEPS = _table("""
Chinese:    下个月, 下一月, 下月, 评论
Czech:      měsíc, týden, komentáře
Danish:     måned, uge, dag, kommentarer
Dutch:      maand, week, dag, reacties
English:    month, months, week, weeks, day, days, year, years, tomorrow, comment, comments, slide
French:     mois, semaine, jour, année, commentaires
German:     monat, woche, tag, jahr, kommentare
Italian:    mese, settimana, giorno, commenti
Japanese:   翌月, 来月, 次月, 翌日, 翌週
Korean:     다음달
Norwegian:  måned, uke, kommentarer
Polish:     miesiąc, tydzień, dzień, komentarze
Portuguese: mês, semana, comentários
Russian:    месяц, неделя, неделю, день, комментарии
Spanish:    mes, semana, día, comentarios
Swedish:    månad, vecka, dag, kommentarer
Turkish:    hafta, yorumlar
""")

# Words of links from one article, product or thread to another: "Next post" may be in a list of posts, or not.
OTHER_ITEMS = _table("""
Czech:      článek, příspěvek, produkt, téma
Danish:     artikel, indlæg, produkt, emne
Dutch:      artikel, bericht, product, onderwerp
English:    post, article, story, thread, topic, product, event, recipe, project, video, game, song, album
French:     article, billet, produit, sujet, recette
German:     beitrag, artikel, produkt, thema, rezept, projekt
Italian:    articolo, prodotto, argomento, ricetta
Polish:     artykuł, wpis, produkt, temat
Portuguese: artigo, produto, tópico, receita
Russian:    статья, запись, товар, тема, рецепт
Spanish:    artículo, entrada, producto, tema, receta
Swedish:    artikel, inlägg, produkt, ämne
Turkish:    yazı, ürün, konu
""")

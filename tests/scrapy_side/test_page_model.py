"""Pages as the web writes them, read by a crawl: encodings, roots, templates, deep nesting, addresses, `Link`."""

from __future__ import annotations

from mediacrawl.spiders.site import SiteSpider

JPEG = b"\xff\xd8\xff" + bytes(300)

# Declared name, codec of the bytes, and a text that says "next" only if it is decoded as declared.
DECLARED = [
    ("x-sjis", "shift_jis", "次のページ"),
    ("windows-31j", "shift_jis", "次へ"),
    ("x-euc-jp", "euc-jp", "次のページ"),
    ("csISO2022JP", "iso2022_jp", "次へ"),
    ("gb_2312-80", "gbk", "下一頁"),
    ("x-gbk", "gbk", "下一頁"),
    ("x-x-big5", "big5", "下一頁"),
    ("ks_c_5601-1989", "euc-kr", "다음"),
    ("windows-949", "cp949", "다음 페이지"),
    ("x-cp1251", "cp1251", "Далее"),
    ("koi8-ru", "koi8-u", "Вперёд"),
    ("x-mac-cyrillic", "mac-cyrillic", "Далее"),
    ("iso88595", "iso8859-5", "Далее"),
    ("iso-8859-8-i", "iso8859-8", "הבא"),
    ("sun_eu_greek", "iso8859-7", "Επόμενη"),
    ("dos-874", "cp874", "ถัดไป"),
    ("utf-16", "utf-8", "Следующая"),  # in a <meta>: the page is not, or the <meta> could not be read
    ("unicode-1-1-utf-8", "utf-8", "Следующая"),
]


def pictures(origin, *paths):
    for path in paths:
        origin.add(path, JPEG, content_type="image/jpeg")


def asked(origin):
    return [request.target for request in origin.requests if request.path != "/robots.txt"]


def test_a_page_is_decoded_as_its_declared_name_means_in_browsers(crawls, origin, tmp_path):
    starts = []
    pictures(origin, "/a.jpg")
    for number, (name, codec, text) in enumerate(DECLARED):
        meta = f'<meta http-equiv=Content-Type content="text/html; charset={name}">'
        html = f'<head>{meta}</head><a href="?p=2">{text}</a>'
        for place, body, kind in (
            ("meta", html.encode(codec), "text/html"),
            ("header", html.replace(name, "latin1").encode(codec), f"text/html; charset={name}"),
        ):
            if (name, place) == ("utf-16", "header"):
                body = html.encode("utf-16-le")  # noqa: PLW2901 - without a byte order mark
            starts.append(origin.add(f"/{place}{number}", body, content_type=kind))
    body = '<a href="/bom2?p=ä">Weiter</a>'.encode("utf-16-be")
    starts.append(origin.add("/bom", b"\xfe\xff" + body, content_type="text/html"))

    crawls.crawl(tmp_path, SiteSpider, url=" ".join(starts))

    expected = {f"/{place}{number}?p=2" for number in range(len(DECLARED)) for place in ("meta", "header")}
    assert expected - set(asked(origin)) == set()
    assert "/bom2?p=%C3%A4" in asked(origin)  # the queries of a page in UTF-16 are in UTF-8


def test_all_of_a_page_is_read(crawls, origin, tmp_path):
    starts = [
        origin.page("/roots", '<html><body><img src="/1.jpg"></body></html><!-- x --><p><img src="/2.jpg">'),
        origin.page("/deep", "<table><tr><td>" * 3_000 + '<img src="/3.jpg"><a rel="next" href="/deep/2">x</a>'),
        origin.page("/template", '<template><img src="/no.jpg"></template><img src="/4.jpg">'),
        origin.page("/header", "<p>", headers={"Link": '</header/2>; rel="next"'}),
        origin.page("/a//b//c", '<img src="../6.jpg"><a rel="next" href="d">x</a>'),
    ]
    xhtml = origin.add(
        "/xhtml",
        "<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><body><img src='/5.jpg'/></body></html>",
        content_type="application/xml",
    )
    for path in ("/deep/2", "/header/2"):
        origin.page(path, "<p>")
    origin.page("/a//b//d", '<img src="7.jpg?">')
    pictures(origin, *(f"/{number}.jpg" for number in range(1, 6)), "/a//b/6.jpg", "/a//b//7.jpg")

    done = crawls.crawl(tmp_path, SiteSpider, url=" ".join([*starts, xhtml]))

    assert done.status == 0
    wanted = {f"/{number}.jpg" for number in range(1, 6)} | {"/deep/2", "/header/2"}
    wanted |= {"/a//b/6.jpg", "/a//b//d", "/a//b//7.jpg?"}
    assert wanted - set(asked(origin)) == set()
    assert "/no.jpg" not in asked(origin)

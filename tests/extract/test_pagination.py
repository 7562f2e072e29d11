from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mediacrawl.extract.links import Page
from mediacrawl.extract.next_words import NEXT, OTHER, letters
from mediacrawl.extract.pagination import find_next, links_by_xpath
from mediacrawl.extract.xpath import BadXPath

URL = "http://h/list?p=1"
TWO = "http://h/list?p=2"


def page(html, url=URL):
    return Page.from_text(html, url)


@pytest.mark.parametrize(
    "html",
    [
        "<link rel=next href='?p=2'>",
        "<link rel='prefetch NEXT' href='?p=2'>",
        "<a rel='nofollow next' href='?p=2'>whatever</a>",
        "<a href='?p=9'>Next</a><link rel=next href='?p=2'>",
        "<a rel=next href='?p=9'>x</a><link rel=next href='?p=2'>",
        "<link rel=next href='#'><a href='?p=2'>Next</a>",
        "<link rel=next href='http://m.example.invalid/2'><a href='?p=2'>Next</a>",
        "<link rel=next href='http://m.example.invalid/2'><link rel=next href='?p=2'>",
        "<a rel=next href='http://ring.example.invalid/2'>a</a><a rel=next href='?p=2'>b</a>",
        "<link rel=next href='?p={{page}}'><a href='?p=2'>Next</a>",
        "<link rel=next href='?p=${page}'><link rel=next href='?p=2'>",
        "<a href='?p=2#top'> NEXT\n <span>page</span> &raquo;</a>",
        "<a href='?p=2'>&larr; Older posts</a><a href='?p=0'>Newer posts</a>",
        "<a href='?p=2' aria-label='Next page'><svg></svg></a>",
        "<a href='?p=2' title='Next'>&gt;&gt;&gt;</a>",
        "<a href='?p=2' class='btn pagination__next'><i></i></a>",
        "<ul><li class='pager-next last'><a href='?p=2'><i></i></a></li></ul>",
        "<a href='?p=2'><img src=arrow.gif alt='Next page'></a>",
        "<div class=pagination><a href='?p=0'>‹</a><a href='?p=9'>»</a><a href='?p=2'>›</a></div>",
        "<ul class=pager><li><a href='?p=0'>«</a></li><li><a href='?p=2'>»</a></li></ul>",
        "<div><a href='?p=1'>1</a> <a href='?p=2'>→</a></div>",
        "<ul><li>1</li><li><a href='?p=2'>&gt;</a></li></ul>",
        "<div class=page><a href='?p=2'>＞</a></div>",
    ],
)
def test_the_next_page_is_found(html):
    assert find_next(page(html)) == TWO


@pytest.mark.parametrize(
    "text",
    [
        *(
            "Next",
            "Older",
            "下一页",
            "下一頁",
            "次へ",
            "次のページ",
            "Suivant",
            "Page suivante »",
            "Weiter",
            "Nächste Seite",
        ),
        *(
            "Siguiente ›",
            "Próxima",
            "Página siguiente",
            "Successivo",
            "Volgende",
            "Далее",
            "Следующая →",
            "다음",
            "İleri",
        ),
        *(
            "Następna",
            "Další",
            "Nästa",
            "Seuraava",
            "Επόμενη",
            "التالي",
            "הבא",
            "अगला",
            "ถัดไป",
            "Trang sau",
            "Sonraki",
        ),
    ],
)
def test_a_link_may_say_next_in_many_languages(text):
    assert find_next(page(f"<p><a href='/list?p=0'>x</a><a href='/list?p=2'>{text}</a>")) == TWO


@pytest.mark.parametrize(
    "html",
    [
        "",
        "<a href='?p=2'>Next Generation Sequencing explained</a>",
        "<a href='?p=2'>What is next?</a>",
        "<a href='?p=2'>›</a>",
        "<nav class=breadcrumb><a href='/'>Home</a><a href='/x'>»</a></nav>",
        "<div class=pager><a href='?p=0'>«</a><a href='?p=0'>‹</a><a href='?p=0'>Prev</a></div>",
        "<div class=pager><a href='?p=9' title='Last page'>»</a></div>",
        "<ul class=pager><li class=last><a href='?p=9'>»</a></li></ul>",
        "<a href='?p=1'>Next</a>",
        "<a href='/list?p=1#top'>Next</a>",
        "<a href='#'>Next</a><a href=''>Next</a><a>Next</a><a href='javascript:next()'>Next</a>",
        "<a rel=next href='?p=1'>2</a>",
        "<a href='?p=2' aria-disabled=true>Next</a>",
        "<a href='?p=2' rel=next class='btn is-disabled'>Next</a>",
        "<ul><li class='next disabled'><a href='?p=2'>Next</a></li></ul>",
        "<a class=carousel-control-next href='?p=2'></a><a class=swiper-button-next href='?p=2'></a>",
        "<div class='nav next'><a href='?p=0'>Newer posts</a></div>",
        "<p><a href=/a>Weiter</a><p><a href=/b>Weiter</a>",
    ],
)
def test_what_only_looks_like_next_is_not_followed(html):
    assert find_next(page(html)) is None


def test_the_same_next_above_and_below_the_list_is_one():
    assert find_next(page("<a href='?p=2'>Next</a> list <a href='?p=2'>Next</a>")) == TWO


def test_a_page_in_gbk_is_read_in_its_encoding():
    body = "<meta charset=gbk><a href='/上?q=中'>上一页</a><a href='/下?q=中'>下一页</a>".encode("gbk")
    subject = Page.from_text(body.decode("gbk"), URL, "gbk")
    assert find_next(subject) == "http://h/%E4%B8%8B?q=%D6%D0"


def test_the_tables_have_no_empty_phrase_and_do_not_overlap():
    assert "" not in NEXT | OTHER
    assert not NEXT & OTHER
    assert all(letters(phrase) == phrase for phrase in NEXT | OTHER)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("//a", ["http://h/1", "http://h/2"]),
        ("//a/@href", ["http://h/1", "http://h/2"]),
        ("//p/text()", ["http://h/t"]),
        ("//iframe", ["http://h/f"]),
        ("//comment()|//p", []),
        ("string(//a[2]/@href)", ["http://h/2"]),
    ],
)
def test_an_xpath_gives_links_in_order_and_each_once(expression, expected):
    html = "<a href=1#x></a><a href=2></a><a href=1></a><a></a><a href='mailto:x'></a><p>t</p><iframe src=f></iframe>"
    assert links_by_xpath(page(html + "<!-- c -->"), expression) == expected


def test_an_xpath_that_fails_on_a_page_is_one_clear_line():
    with pytest.raises(BadXPath, match="next: "):
        links_by_xpath(page("<a>"), "//a[foo()]", name="next")


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
ANCHOR = st.builds(
    "<{} {}='{}' {}='{}'>{}".format,
    st.sampled_from(["a", "link", "li", "base", "img", "svg", "!--"]),
    *[st.sampled_from(["href", "rel", "class", "title", "alt", "id"]), st.sampled_from(["next", "pager"]) | TEXT] * 2,
    st.sampled_from(["Next", "›", "»", "1", "</a>", "</li>"]) | TEXT,
)


@settings(deadline=None)
@given(st.lists(ANCHOR | TEXT).map("".join))
def test_no_page_breaks_the_search(html):
    url = find_next(page(html))
    assert url is None or (url.startswith(("http://", "https://")) and url != URL)
    links_by_xpath(page(html), "//node()|//@*")


@pytest.mark.parametrize(
    "element",
    [
        "<a href='/{}'><img src=/{} alt=x></a>",
        "<div><a href='/{}'>",
        "<div class=pager><a href='/{}'>»",
        "<li><a href='/{}' class=next>{}</a></li>",
        "<a href='/{}'>›</a>{}",
        "<a href='/{}'>" + "x" * 500 + "</a>",
        "<span><a href='/{}'>›</a>",
    ],
)
def test_a_page_of_5000_links_takes_well_under_a_second(element):
    subject = page("".join(element.replace("{}", str(number)) for number in range(5_000)))
    start = time.process_time()
    find_next(subject)
    assert time.process_time() - start < 1.5  # processor seconds: a quarter as a rule, ten times as much if quadratic

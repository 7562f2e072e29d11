"""Next links as real sites write them: icons, numbers, buttons and loaders; and what has arrows but no pages."""

from __future__ import annotations

import time

import pytest

from mediacrawl.extract.links import Page
from mediacrawl.extract.pagination import find_next

URL = "http://h/list?p=1"
TWO = "http://h/list?p=2"
LINK = "href='?p=2'"
TWO_LI = "<li><a href='?p=2'>2</a></li>"


def next_of(html, url=URL, **arguments):
    return find_next(Page.from_text(html, url, **arguments))


@pytest.mark.parametrize(
    "icon",
    [
        "<div class=go-next></div>",
        "<i class=icon-next></i>",
        "<i class=icon-chevron-right> </i>",
        "<i class='fa fa-angle-right'></i>",
        "<i class='fas fa-long-arrow-alt-right' aria-hidden=true></i>",
        "<i class='bi bi-caret-right-fill'></i>",
        "<span class='glyphicon glyphicon-chevron-right'></span>",
        "<span class='dashicons dashicons-arrow-right-alt2'></span>",
        "<span class=arrow-right></span>",
        "<svg><title>Next</title><path d='M0 0'/></svg>",
        "<svg class=icon><use xlink:href='/s.svg#icon-arrow-right'/></svg>",
        "<svg><use href='#chevron-right'></use></svg>",
        "<svg class='icon icon--next'></svg>",
        "<i class=material-icons>navigate_next</i>",
        "<span class=material-symbols-outlined>arrow_forward_ios</span>",
        "<img src=/img/next.gif>",
        "<img src='/themes/x/arrow_right.png?v=3' alt=''>",
        "<span aria-hidden=true>&raquo;</span><span class=sr-only>Next</span>",
        "<iconify-icon icon='mdi:chevron-right'></iconify-icon>",
    ],
)
def test_an_icon_alone_is_a_sign_in_a_pager(icon):
    assert next_of(f"<ul class=pagination><li><a href='?p=1'>1</a></li><li><a {LINK}>{icon}</a></li></ul>") == TWO


@pytest.mark.parametrize(
    "icon",
    [
        "<i class=icon-chevron-left></i>",
        "<div class=go-prev></div>",
        "<i class='fa fa-fast-forward'></i>",
        "<i class=material-icons>last_page</i>",
        "<img src=/img/last.gif>",
        "<svg><use href='#arrow-up'/></svg>",
        "<i class='fa fa-download'></i>",
    ],
)
def test_an_icon_of_another_direction_is_no_sign(icon):
    assert next_of(f"<ul class=pagination><li><a {LINK}>{icon}</a></li></ul>") is None


@pytest.mark.parametrize("attribute", ["dir=rtl", "dir=RTL lang=ar"])
@pytest.mark.parametrize(
    ("back", "forward"),
    [
        ("<i class='fa fa-chevron-right'></i>", "<i class='fa fa-chevron-left'></i>"),
        ("<svg><use href='#arrow-right'/></svg>", "<svg><use href='#arrow-left'/></svg>"),
        ("→", "←"),
        ("‹", "›"),  # Unicode mirrors these
    ],
)
def test_the_arrows_of_a_page_from_right_to_left_are_mirrored(attribute, back, forward):
    pager = "<ul class=pagination><li><a href='?p=1'>{}</a></li><li>2</li><li><a href='?p=3'>{}</a></li></ul>"
    html = f"<html {attribute}>{pager.format(back, forward)}"
    assert next_of(html, "http://h/list?p=2") == "http://h/list?p=3"
    assert next_of(html.replace("p=1", "n=1"), "http://h/list?p=2") == "http://h/list?p=3"


def test_an_icon_outside_a_pager_is_no_sign():
    assert next_of(f"<a {LINK}><i class=icon-chevron-right></i></a><p><a href='?p=3'><img src=next.gif></a>") is None


@pytest.mark.parametrize(
    ("url", "html"),
    [
        (URL, "<div class=pages><b>1</b> <a href='?p=2'>2</a> <a href='?p=3'>3</a></div>"),
        (URL, "<p>1 | <a href='?p=2'>2</a> | <a href='?p=3'>3</a></p>"),
        (URL, "<p>Page: [1] <a href='?p=2'>2</a> <a href='?p=3'>3</a></p>"),
        (URL, "<ul><li class=active><a href='?p=1'>1</a></li><li><a href='?p=2'>2</a></li></ul>"),
        (URL, "<ul><li><a href='?p=0'>0</a></li><li><a href='?p=1'>1</a></li><li><a href='?p=2'>2</a></li></ul>"),
        (URL, "<table><tr><td><span>1</span></td><td><a href='?p=2'>2</a></td></tr></table>"),
        (URL, "<div><a aria-current=page href=/list>1</a><a href='?p=2'>2</a></div>"),
        (URL, "<div><span class=page-numbers>1</span><span>|</span><a href='?p=2'>2</a></div>"),
        (
            URL,
            "<ul class=pagination><li class=active><span>1 <span class=sr-only>(current)</span></span></li>" + TWO_LI,
        ),
        (URL, "<div class=pager><b>１</b> <a href='?p=2'>２</a></div>"),
        (URL, "<div class=pager><b>١</b> <a href='?p=2'>٢</a></div>"),
        ("http://h/list", "<div class=pagination><a href='?p=1'>1</a> <a href='?p=2'>2</a></div>"),
        ("http://h/list?s=a", "<p>Pages: <a href='?s=a&p=1'>1</a> <a href='?s=a&p=2'>2</a></p>"),
        (URL, "<div class=pager><strong>7</strong><a href='?p=2'>8</a><a href='?p=9'>»</a></div>"),
        ("http://h/a/list.html", "<p><b>1</b> <a href=list-2.html>2</a>"),
        ("http://h/list", "<p><b>1</b> <a href='/list/page/2/'>2</a>"),
        ("http://h/list/", "<p><b>1</b> <a href='/list/2/'>2</a>"),
        ("http://h/list/3", "<p><a href=1>1</a> <a href=2>2</a> <b>3</b> <a href=4>4</a>"),
        ("http://h/list?start=20&sort=a", "<p><a href='?sort=a'>1</a> <b>2</b> <a href='?sort=a&start=40'>3</a>"),
    ],
)
def test_the_number_after_that_of_the_page_is_the_next_page(url, html):
    expected = html.replace('"', "'").split("</")[0]  # only shown when the assertion fails
    assert next_of(html, url) is not None, expected


@pytest.mark.parametrize(
    "html",
    [
        "<div class=pages><a href='?p=1x'>1</a> <a href='?p=2'>2</a> <a href='?p=3'>3</a></div>",  # none is marked
        "<div class=pages><b>3</b> <a href='?p=2'>2</a></div>",
        "<ul class=per-page><li>10</li><li><a href='?count=20'>20</a></li></ul>",
        "<ul class=sizes><li class=selected>38</li><li><a href='?size=39'>39</a></li></ul>",
        "<p>in <b>2019</b> <a href='/archive/2020'>2020</a>",
        "<table class=calendar><tr><td class=active>14</td><td><a href='?p=15'>15</a></td></tr></table>",
        "<div class=comments><div class=pagination><b>1</b><a href='?cpage=2'>2</a></div></div>",
        "<p>1 <a href='/article/7'>2</a>",
        "<ul><li>36</li><li class=selected>37</li><li><a href='/list-38.html'>38</a></li></ul>",
        "<p><b>2</b> <a href='/list?cpage=3#comments'>3</a>",
        "<div class=rating><b>4</b><a href='?p=5'>5</a></div>",
        "<div class=pages><b>1</b> <a href='#2'>2</a></div>",
        "<div class=page><ul><li class=active>1</li><li><a href='/rate?id=5&p=2'>2</a></li></ul></div>",
        "<ul class=seasons><li class=active>1</li><li><a href='/list/2'>2</a></li></ul>",
    ],
)
def test_another_number_is_not(html):
    assert next_of(html) is None


@pytest.mark.parametrize(
    ("url", "html"),
    [
        ("http://h/timetable", "<p><a href=/timetable/1>1</a> <b>2</b> <a href=/timetable/3>3</a></p>"),
        ("http://h/2020/06/", "<div class=nav-links><a rel=next href='/2020/07/'>July</a></div>"),
        ("http://h/2020/06/", "<div class=pager><a class=next href='/2020/07/'>Next</a></div>"),
        ("http://h/events?month=6&year=2020", "<div class=pager><a href='?month=7&year=2020'>Next</a></div>"),
    ],
)
def test_another_month_or_hour_is_no_page(url, html):
    assert next_of(html, url) is None


def test_a_label_may_be_the_name_of_the_page_itself():
    link = "(previous page) (<a href='/index.php?title=Category:X_y&filefrom=K' title='Category:X y'>next page</a>)"
    assert next_of(link, "http://h/wiki/Category:X_y") == "http://h/index.php?title=Category:X_y&filefrom=K"
    assert next_of(link, "http://h/wiki/Category:Z") is None


def test_a_page_may_be_about_reviews():
    html = f"<img src=/a.jpg><div class=reviews><div class=pagination><a {LINK}>Next</a></div></div>"
    assert next_of(html) is None
    assert next_of(html, "http://h/p/1/reviews/") == "http://h/p/1/reviews/?p=2"


def test_the_second_page_of_a_month_is_one():
    pager = "<div class=pager><a class=next href='/2020/06/page/2/'>Next</a></div>"
    assert next_of(pager, "http://h/2020/06/") == "http://h/2020/06/page/2/"
    board = "<div class=pages><form action=2><input type=submit value=Next></form></div>"
    assert next_of(board, "http://h/b/") == "http://h/b/2?"


@pytest.mark.parametrize(
    "html",
    [
        "<a href='?p=2'>Next 20</a>",
        "<a href='?p=2'>次の20件</a>",
        "<a href='?p=2'>Nächste 10 »</a>",
        "<a href='?p=2'>加载更多</a>",
        "<a href='?p=2'>Mehr laden</a>",
        "<a href='?p=2'>Загрузить ещё</a>",
        "<a href='?p=2'>もっと読み込む</a>",
        "<a href='?p=2'>더 불러오기</a>",
        "<a href='?p=2'>Carregar mais</a>",
        "<a href='?p=2'>下一页 (2/10)</a>",
        "<a href='?p=2'>Load 12 more</a>",
        "<nav class=pagination><a href='?p=2'>Next: results 21 to 40</a></nav>",
        "<div class=pager><a href='?p=2'>Weiter zu den nächsten Bildern</a></div>",
        "<div class=pager><a href='?p=2'>Suivant : page 2 sur 9</a></div>",
        "<div class=load-more><a href='?p=2'>Show more</a></div>",
        "<button class=load-more data-url='?p=2'>Voir plus</button>",
        "<a class=morelink href='?p=2'>More</a>",
        "<a class=btn href='?p=2'>View more</a>",
        "<a href='?p=2'>More photos</a>",
        "<a href='/list/p2.html'>次のページへ進む</a>".replace("/list/p2.html", "?p=2"),
        "<a href='?p=2'>Weiter zur Seite 2</a>",
        "<div class='ias-trigger ias-trigger-next'><a href='?p=2'>Load more items</a></div>",
        "<a href='javascript:;' rel='list?p=2' id=autopbn>下一页 »</a>",
        "<div class=pagination><a id=next-page href='?p=2'><span class=arrow></span></a></div>",
        "<p class=pager><a href='?p=0'><img alt='&lt;'></a><a href='?p=2'><img alt='&gt;'></a></p>",
        "<div class=nav-links><p class=nav-previous><a href='?p=2'><i></i></a></p><p class=nav-next><a href='?p=0'>",
    ],
)
def test_a_text_that_begins_with_next_or_asks_for_more_is_a_sign(html):
    assert next_of(html) == TWO


@pytest.mark.parametrize(
    "html",
    [
        "<a href='?p=2'>Next 7 days</a>",
        "<a href='?p=2'>More</a>",
        "<a class=more href='?p=2'>More</a><a class=more href='?p=3'>More</a>",
        "<a class=more href='/news'>More photos</a>",
        "<p class=read-more><a href='/article'>Read more</a>",
        "<div class=teaser><a class=more-link href='/article'>Show more</a></div>",
        "<div class=pager><a href='/thread-9'>Next thread</a></div>",
        "<nav class=post-navigation><div class=nav-links><a href='/post-9'>Next post: about 9 lives</a></div></nav>",
    ],
)
def test_a_text_that_goes_on_with_something_else_is_none(html):
    assert next_of(html) is None


@pytest.mark.parametrize(
    "html",
    [
        "<button data-href='?p=2'>Next</button>",
        "<button type=button data-url='/list?p=2' class=next></button>",
        "<a href='#' data-url='?p=2'>Next</a>",
        "<a href='javascript:;' data-href='?p=2' rel=next>2</a>",
        "<div class=infinite-scroll data-next-url='?p=2'></div>",
        "<li data-next-page-url='?p=2'><span>Load more</span></li>",
        "<span class=next data-link='?p=2'>Next</span>",
        "<div class=load-more data-ajax-url='?p=2'>Show more</div>",
        "<div class=infinite data-share-url='/x' data-next='?p=2'></div>",
        "<div class=pager><a class=next data-next=2 data-load-more-url='/list?p=2'>»</a></div>",
        "<button hx-get='?p=2' hx-target='#list'>Load more</button>",
        "<tr hx-get='?p=2' hx-trigger=revealed hx-swap=afterend><td>The last row of the table</td></tr>",
        "<div data-hx-get='/list?p=2' data-hx-trigger='intersect once'></div>",
        "<a href='javascript:void(0)' onclick=\"location.href='?p=2'\">Next</a>",
        '<button onclick="window.location = &quot;/list?p=2&quot;; return false">Next</button>',
        "<input type=button value='Next page' onclick=\"document.location.assign('?p=2')\">",
        "<div class=pager><a href=\"javascript:location.href='?p=2'\">›</a></div>",
        "<form><input type=hidden name=p value=2><input type=submit value=Next></form>",
        "<form action=/x><button name=p value=2 formaction='/list?x#y'>Next</button></form>",
        "<form method=GET action='list'><input type=hidden name=p value=2><button>Older</button></form>",
        "<form><input type=hidden name=p value=2><input type=image alt=Next aria-label=Next></form>",
    ],
)
def test_a_button_or_a_box_may_name_the_next_page(html):
    assert next_of(html) == TWO


@pytest.mark.parametrize(
    "html",
    [
        "<form method=post><input type=hidden name=p value=2><input type=submit value=Next></form>",
        "<form><input name=q><input type=hidden name=p value=2><button>Next</button></form>",
        "<form><select name=s></select><input type=hidden name=p value=2><button>Next</button></form>",
        "<form><button type=button>Next</button></form>",
        "<button data-href='?p=2' disabled>Next</button>",
        "<button onclick=\"next('?p=2')\">Next</button>",
        "<a href='{{ next.url }}'>Next</a><a rel=next href='?p=${page}'>Next</a>",
        "<div data-url='?p=2' class=share>Share</div>",
        "<div class=swiper-button-next data-href='?p=2'></div>",
        "<nav data-href='/article-9' class=next></nav>",
        "<div hx-get='/comments' hx-trigger=revealed></div>",
        "<form action=/delete><input type=hidden name=id value=5><input type=submit value=Next></form>",
        "<form action=/list2><input type=hidden name=p value=2><button>Next</button></form>",
        "<form action=/list/2><button>Next</button></form>",
        "<div class=pages><form action=/survey/2><button>Next</button></form></div>",
        "<form><button formaction='/rate?p=2' name=id value=5>Next</button></form>",
        "<div class=banner><button data-href=/consent/accept>Next</button></div>",
        "<button onclick=\"location='/vote?p=2'\">Next</button>",
        "<div class=cookie-consent><a href=/consent>Next</a></div>",
    ],
)
def test_another_button_does_not(html):
    assert next_of(html) is None


def test_a_query_of_a_form_is_in_the_encoding_of_the_page():
    html = "<form action='list?old'><input type=hidden name=q value='中'><button>Next</button></form>"
    assert next_of(html, encoding="gbk") == "http://h/list?q=%D6%D0"


ARROW = f"<a {LINK}>»</a>"


@pytest.mark.parametrize(
    "html",
    [
        f"<div class=calendar><ul class=pager><li class=date-next>{ARROW}</li></ul></div>",
        f"<table class=wp-calendar><caption class=pager>{ARROW}</caption></table>",
        f"<div id=ui-datepicker-div><div class=pager>{ARROW}</div></div>",
        f"<div class=month-nav><span class=pages>{ARROW}</span></div>",
        f"<ol class=breadcrumb><li>1</li><li>{ARROW}</li></ol>",
        f"<div id=comments><nav class=pagination>{ARROW}</nav></div>",
        f"<div id=comments><a class=next {LINK}>Next</a></div>",
        f"<div id=comments><a rel=next {LINK}>Next</a></div>",
        f"<nav class='navigation comments-pagination'><a class='next page-numbers' {LINK}>»</a></nav>",
        f"<div class=product-sizes><div class=pager>{ARROW}</div></div>",
        f"<div class='slick-slider pagination'>{ARROW}</div>",
        f"<div class=carousel><div class=pagination>{ARROW}</div></div>",
        f"<nav class=post-navigation><div class=nav-links>{ARROW}</div></nav>",
        f"<nav class=nav-single><span class=pages><a {LINK}>→</a></span></nav>",
        f"<div class=related-items><div class=pager>{ARROW}</div></div>",
        f"<ul class=pager><li><a title='Navigate to next month' {LINK}>»</a></li></ul>",
        f"<ul class=pager><li><a title='Nächster Monat' {LINK}>»</a></li></ul>",
        f"<ul class=pager><li><a rel=next aria-label='Next week' {LINK}>›</a></li></ul>",
        "<div class=pages><a class=next href='?limit=all'>Show all</a></div>",
        "<div class=pages><a title='Next product' href='/product/9'>»</a></div>",
        "<div class=pages><a title='Next slide' href='?p=2'>»</a></div>",
        "<div class=pages><a class=next aria-label='Nächster Artikel' href='/a-9'><i></i></a></div>",
        "<div class=pages><a class=next href='/product/9' title='Blue shirt'>»</a></div>",
        f"<div class=pager><a rel=prev {LINK}>»</a></div>",
        "<ul class=pager><li class=next><a href=/post-b title='My holiday'>Next</a></li></ul>",
        "<ul class=pager><li class=next><a href=/post-b title='My holiday'>Next Post →</a></li></ul>",
        "<ul class=pager><li class=next><a href=/post-b title=Bee>Next<br><span>Bee</span></a></li></ul>",
        "<div id=content class=page><article><h2>x</h2><a href=/post-1>→</a></article></div>",
        "<div class=page><div class=teaser><a href='/list-2'>»</a></div></div>",
        "<div class=page><a href='/en/'>English →</a><a href='/en/'>→</a></div>",
        "<div class=pager><a href='?p=1&month=5'>Prev</a> <a href='?p=1&month=7&year=2020'>Next</a></div>",
        "<div class=date-archive-nav><a rel=next href='/2020/06/02/'>Tomorrow</a></div>",
        f"<div id=customer-reviews>{ARROW}<div class=pagination><a {LINK}>Next</a></div></div>",
        f"<div class=cmts><div class=pagination><a {LINK}>Next</a></div></div>",
        f"<div class=ipsComments><ul class=pagination><li class=next><a {LINK}>Next</a></li></ul></div>",
        "<div class=pager><span class=nav-next><a class=next href='?p=0'><i class=arrow-right></i></a></span></div>",
        f"<div class=pager><a rel=last {LINK}>»</a></div>",
    ],
)
def test_what_has_arrows_and_no_pages_is_left_alone(html):
    assert next_of(html) is None


@pytest.mark.parametrize(
    "html",
    [
        f"<ul class=pager><li><a title='Go to page 2' {LINK}>»</a></li></ul>",
        f"<ul class=pager><li><a title='2ページ目へ' {LINK}>›</a></li></ul>",
        f"<ul class=pager><li class=next><a {LINK}>Næsta síða</a></li></ul>",  # no language of the table
        f"<body class='calendar comments carousel'><div class=pager>{ARROW}</div>",
        f"<nav class=posts-navigation><a {LINK}>Older posts</a></nav>",
        f"<div class=calendar><ul class=pager>{ARROW.replace('?p', '?m')}</ul></div><ul class=pager>{ARROW}</ul>",
    ],
)
def test_a_pager_beside_or_in_a_page_about_these_is_followed(html):
    assert next_of(html) == TWO


NEXT = f"<div class=pagination><a class=next {LINK}>Next</a></div>"
REL_NEXT = f"<div class=pagination><a rel=next {LINK}>Go on</a></div>"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "content no-slider",
            "page has-slider no-related",
            "site with-comments",
            "slideshow-page",
            "gallery-nav pagelist",
        ),
        *(
            "similar-results",
            "wd-product-slider-on",
            "day-view",
            "category-calendars",
            "photo-stars",
            "slick-list-page",
        ),
        *("swiper-container-off", "jp-relatedposts-wrapper-main", "comments-disabled", "comments-off", "slider-wrap"),
        *("lightbox-gallery", "gallery-slideshow", "carousel-off", "tribe-events-calendar-list-nav"),
        *(
            "event-calendar-list",
            "comments-closed post",
            "post comments-open",
            "recommend-shelf",
            "without-breadcrumbs",
        ),
    ],
)
def test_a_word_in_the_name_of_a_box_does_not_outweigh_a_pager_in_it(name):
    for pager in (NEXT, REL_NEXT):
        assert next_of(f"<img src=/a.jpg><div class='{name}'><div id=x><p>text</p></div>{pager}</div>") == TWO


@pytest.mark.parametrize(
    "name", ["related", "carousel", "comments", "wp-calendar", "similar-items", "slick-slider", "x"]
)
@pytest.mark.parametrize("pager", [NEXT, REL_NEXT, f"<div class=pages>{ARROW}</div>"])
def test_the_box_with_the_main_part_of_the_page_may_have_any_name(name, pager):
    main = f"<div class='{name}'><ul><li><img src=/a.jpg></li><li><img src=/b.jpg></li></ul>{pager}</div>"
    assert next_of(f"<h1>List</h1><div class=wrapper>{main}</div><p>imprint</p>") == TWO
    assert next_of(f"<h1>List</h1><main id='{name}'>{pager}</main><img src=c.jpg><img src=d.jpg>") == TWO
    others = "<div><img src=c.jpg></div>" * 3
    expected = None if name != "x" else TWO
    assert next_of(f"<h1>Post</h1>{others}<div class=wrapper>{main}</div><p>imprint</p>") == expected


@pytest.mark.parametrize(
    "html",
    [
        f"<div class=comments-wrap>{NEXT}</div>",
        f"<div class='post-comments'>{REL_NEXT}</div>",
        f"<div class=event-calendar><a class=next {LINK}>Next</a></div>",
        f"<div class=product-slider><a class=next {LINK}>Next</a></div>",
        f"<div aria-label=Carousel>{NEXT}</div>",
        f"<div class=event-calendar>{NEXT.replace('p=2', 'month=7')}</div>",
    ],
)
def test_the_same_words_hold_for_a_link_that_is_not_sure(html):
    assert next_of(f"<img src=/a.jpg>{html}") is None


@pytest.mark.parametrize(
    ("values", "html", "expected"),
    [
        (["<?p=2>; rel=next"], "", TWO),
        (['<http://h/list?p=0>; rel="prev", </list?p=2>; rel="last next"; title="a, b"'], "", TWO),
        (["</x>; rel=preload", "<?p=2> ; REL=Next"], "<base href=/elsewhere/>", TWO),  # relative to the page itself
        (["<?p=2>; rel=next"], "<a href='?p=9'>Next</a><a rel=next href='?p=8'>9</a>", TWO),
        (["<?p=9>; rel=next"], "<link rel=next href='?p=2'>", TWO),
        (["<{{x}}>; rel=next"], "<a href='?p=2'>Next</a>", TWO),
        (["<http://m.example.invalid/2>; rel=next"], "<a href='?p=2'>Next</a>", TWO),
        (["<http://m.example.invalid/2>; rel=next"], "<a>Next</a>", "http://m.example.invalid/2"),
        (["<?p=1>; rel=next"], "<a href='?p=2'>Next</a>", TWO),
        (['<?p=9>; rel=next; anchor="/other"', "?p=9; rel=next", "<?p=9", "<?p=9>; rel=prev; rel=next"], "", None),
    ],
)
def test_the_header_link_names_the_next_page(values, html, expected):
    assert next_of(html, link=values) == expected


@pytest.mark.parametrize(
    "element",
    [
        "<a href='?p={}'><i class=icon-next></i></a>",
        "<b>{}</b> <a href='?p={}'>{}</a>",
        "<li><a href='?p={}'>{}</a></li>",
        "<div><span>|</span><a href='?p={}'>2</a>",
        "<form><input type=hidden name=p value={}><button>Next</button>",
        "<div data-href='?p={}'>",
        "<a onclick=\"location='?p={}'\" href=#>»</a>",
        "<div class=carousel><img src=/{}.jpg><a href='?p={}'>Next</a>",
        "<div class=carousel><img src=/{}.jpg><a href='?p={}'>Next</a></div>",
        "<div class=pager><a href='?p={}'>Next {}",
        "<!-- {} --><a href='?p={}'>Weiter</a>",
        "<a href='/{}'><svg><use href='#x-{}'/></svg></a>",
    ],
)
def test_the_time_grows_with_the_number_of_links(element):
    seconds = []
    for count in (600, 2_400):
        page = Page.from_text("".join(element.replace("{}", str(number)) for number in range(count)), URL)
        start = time.process_time()
        find_next(page)
        seconds.append(time.process_time() - start)
    assert seconds[1] < 4 * 3 * seconds[0] + 0.2  # four times as many links; sixteen times the time if quadratic

from __future__ import annotations

import pytest
from parsel import Selector

from mediacrawl.errors import UsageProblem
from mediacrawl.extract.xpath import BadXPath, compile_xpath, evaluate


@pytest.mark.parametrize(
    "expression",
    [
        "//img/@src",
        "//a[re:test(@href, '\\.jpg$')]/@href",
        "//div[has-class('gallery')]//img",
        "//nav[has-class('x') and (@id or (position() mod (2)))]/a",
        "set:difference(//a, //a[1])",
        "string(//a/@href)",
        "//a[text()='a:b(c) $d']/descendant-or-self::node()/comment()",
        "//x[contains(concat(' ', normalize-space(@class), ' '), ' y ')]/following-sibling::*[last()]",
    ],
)
def test_a_good_xpath_comes_back_as_it_is(expression):
    assert compile_xpath("media", f" {expression}\n") == expression


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("//a[", "Invalid expression"),
        ("", "empty"),
        ("foo()", "Unregistered function"),
        ("//nav[foo()]", "Unregistered function (foo())"),
        ("//nav/x:a", "Undefined namespace prefix"),
        ("//nav[x:y(.)]", "Undefined namespace prefix"),
        ("//nav[@a=$b]", "Undefined variable ($b)"),
        ("//a[contains(@href)]", "Invalid number of arguments"),
        ("//a[re:test(@href, '(')]", "missing )"),
        ("//a[re:test(@href)]", "argument"),
        ("count(//img)", "number"),
        ("//img = 'x'", "truth value"),
        ("//a\x00", "XML compatible"),
        ("//a[\n\nfoo(", "Invalid"),
    ],
)
def test_a_bad_xpath_is_one_line_with_its_name_and_the_reason(expression, reason):
    with pytest.raises(BadXPath) as caught:
        compile_xpath("next", expression)
    message = str(caught.value)
    assert message.startswith("next: ")
    assert reason in message
    assert "\n" not in message


def test_a_bad_xpath_is_a_wrong_argument_and_a_value_error():
    assert issubclass(BadXPath, UsageProblem)
    assert issubclass(BadXPath, ValueError)


def test_what_only_a_page_shows_is_the_same_clear_line():
    expression = "//nav[contains(@id)]"
    assert compile_xpath("follow", expression) == expression
    with pytest.raises(BadXPath, match=r"follow: .*Invalid number of arguments"):
        evaluate(Selector(text="<nav>"), expression, "follow")

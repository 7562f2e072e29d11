"""XPath expressions of the user: checked before any request, with one clear line for a wrong expression."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from parsel import Selector

from mediacrawl.errors import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parsel import SelectorList

# A page with nodes for the common predicates, so that a wrong predicate fails here and not on page 900.
_SPECIMEN = """<html><head><title>t</title><base href="http://h/"><link rel="next" href="/2">
<meta property="og:image" content="/i.jpg"></head><body id="b" class="c"><div id="d" class="c"><ul class="c">
<li class="next"><a href="/2" class="next" rel="next" title="t">Next</a></li></ul>
<p class="c"><span class="c">t</span></p><picture><img src="/i.jpg" srcset="/i.jpg 1x" data-src="/i.jpg"
alt="a" class="c"></picture>
<figure class="c"><video src="/v.mp4" poster="/i.jpg"></video><audio src="/a.mp3"></audio></figure></div>
</body></html>"""

_LITERAL = re.compile(r"\"[^\"]*\"|'[^']*'")
_FUNCTION = re.compile(r"(?<![\w.$:-])((?:[^\W\d][\w.-]*:)?[^\W\d][\w.-]*)\s*\(")
_PREFIX = re.compile(r"(?<![\w.-])([^\W\d][\w.-]*):(?=[\w*])")
_VARIABLE = re.compile(r"\$[\w.:-]+")
_OPERATORS = ("and", "or", "div", "mod")  # may precede a parenthesis, too
_UNKNOWN_NAME = ("Unregistered function", "Undefined namespace prefix", "Undefined variable")


class BadXPath(UsageProblem, ValueError):
    """An XPath argument that cannot be used. The message is one line: the argument, the expression, the reason."""

    def __init__(self, name: str, expression: str, reason: str) -> None:
        super().__init__(" ".join(f"{name}: {expression!r} is not a usable XPath: {reason}".split()))


def compile_xpath(name: str, expression: str) -> str:
    """Return the expression, stripped, if it can be evaluated and selects nodes or text.

    Raises:
        BadXPath: wrong syntax; an unknown function, prefix or variable anywhere in it; a number or a truth
            value as its result; or an error on a small page with one of each common element.
    """
    expression = expression.strip()
    if not expression:
        raise BadXPath(name, expression, "it is empty")
    specimen = Selector(text=_SPECIMEN, type="html")
    evaluate(specimen, expression, name)
    for probe in _probes(expression):
        reason = _failure(specimen, probe)
        if reason.startswith(_UNKNOWN_NAME):
            raise BadXPath(name, expression, f"{reason} ({probe})")
    if not _selects(specimen, expression):
        raise BadXPath(name, expression, "it gives a number or a truth value, not nodes or text")
    return expression


def evaluate(selector: Selector, expression: str, name: str) -> SelectorList[Selector]:
    """Evaluate an expression, with every failure as a `BadXPath`: some occur only where a predicate has nodes."""
    try:
        return selector.xpath(expression)
    except Exception as problem:  # lxml passes on the errors of extension functions: re.error, TypeError
        raise BadXPath(name, expression, _reason(problem, expression)) from problem


def _failure(selector: Selector, expression: str) -> str:
    try:
        selector.xpath(expression)
    except Exception as problem:
        return _reason(problem, expression)
    return ""


def _reason(problem: Exception, expression: str) -> str:
    """Return the message of lxml, without the text that parsel adds."""
    return str(problem).removeprefix("XPath error: ").removesuffix(f" in {expression}")


def _probes(expression: str) -> Iterator[str]:
    """Yield each name as an expression of its own.

    libxml2 looks a name up only when it evaluates it, and a predicate on no node is not evaluated: `//nav[foo()]`
    would pass on every page without a <nav>.
    """
    bare = _LITERAL.sub("''", expression)
    functions = [name for name in dict.fromkeys(_FUNCTION.findall(bare)) if name not in _OPERATORS]
    yield from (f"{function}()" for function in functions)
    yield from (f"self::{prefix}:x" for prefix in dict.fromkeys(_PREFIX.findall(bare)))
    yield from dict.fromkeys(_VARIABLE.findall(bare))


def _selects(selector: Selector, expression: str) -> bool:
    return not isinstance(selector.root.xpath(expression, namespaces=selector.namespaces), bool | float)

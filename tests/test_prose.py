"""The prose of docstrings, comments and documents: plain technical English, counted."""

from __future__ import annotations

import ast
import functools
import io
import re
import tokenize
from pathlib import Path

import pytest

import mediacrawl

PACKAGE = Path(mediacrawl.__file__).parent
CLONE = PACKAGE.parent
DOCUMENTS = [CLONE / "README.md", CLONE / "CHANGELOG.md", *sorted((CLONE / "docs").glob("*.md"))]
# Words that name nothing: a sentence with one of them as its subject has to be read twice.
INDEFINITE = {"who", "whom", "whose", "what", "those", "such", "nobody", "somebody", "whatever", "whoever"}
MOST_INDEFINITE = 6  # in 1,000 words
LEAST_WITH_A_VERB = 0.9  # of the docstrings of functions
MOST_UNDOCUMENTED = 54  # public names; none is added without a docstring
# Verbs in the imperative with which docstrings begin. A new one is added to the file; a noun is not.
VERBS = set((Path(__file__).parent / "data/verbs.txt").read_text().split())

Function = ast.FunctionDef | ast.AsyncFunctionDef


parsed = functools.cache(ast.parse)


@functools.cache
def sources():
    """Return the source of each module by its path; not to be changed."""
    return {str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}


def documented(tree):
    """The nodes of a module that may have a docstring."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | Function)]


def prose_of(source):
    """The docstrings and comments of a module."""
    texts = [ast.get_docstring(node) or "" for node in documented(parsed(source))]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return "\n".join([*texts, *(token.string for token in tokens if token.type == tokenize.COMMENT)])


def indefinite(text):
    """The indefinite words of a text, and the number of all its words."""
    words = re.findall(r"[a-z']+", text.lower())
    found = [word for word in words if word in INDEFINITE]
    return [*found, *re.findall(r"\bso (?:many|much)\b", text.lower())], len(words)


def first_words(source):
    """Of each function with a docstring, but properties: its name, and the first word of the docstring."""
    return [
        (node.name, re.sub(r"[^a-z-]", "", text.split()[0].lower()))
        for node in documented(parsed(source))
        if isinstance(node, Function) and (text := ast.get_docstring(node))
        if not any("property" in ast.unparse(decorator) for decorator in node.decorator_list)
    ]


def undocumented(source):
    """The public classes and functions without a docstring, and the methods of public classes."""

    def within(node, prefix):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | Function) and not child.name.startswith("_"):
                if not ast.get_docstring(child):
                    yield prefix + child.name
                if isinstance(child, ast.ClassDef):
                    yield from within(child, f"{child.name}.")

    return list(within(parsed(source), ""))


@pytest.mark.parametrize(
    "path", [None, *DOCUMENTS], ids=lambda path: path.name if path else "docstrings and comments"
)
def test_few_words_name_nothing(path):
    text = path.read_text(encoding="utf-8") if path else "\n".join(map(prose_of, sources().values()))
    found, words = indefinite(text)
    assert 1000 * len(found) <= MOST_INDEFINITE * words, found


def test_docstrings_of_functions_begin_with_a_verb():
    begun = [(name, word) for source in sources().values() for name, word in first_words(source)]
    others = [(name, word) for name, word in begun if word not in VERBS]
    assert len(others) <= (1 - LEAST_WITH_A_VERB) * len(begun), others


def test_public_names_have_docstrings():
    found = [name for source in sources().values() for name in undocumented(source)]
    assert len(found) <= MOST_UNDOCUMENTED, found


def test_each_is_found():
    source = '''
class A:
    """What is there."""  # for those who wait

    def f(self):
        """The same, so many times."""

    @property
    def g(self):
        """A property."""

    def h(self): ...

def _i(): ...
'''
    found, words = indefinite(prose_of(source))
    assert (sorted(found), words) == (["so many", "those", "what", "who"], 14)
    assert first_words(source) == [("f", "the")]
    assert undocumented(source) == ["A.h"]

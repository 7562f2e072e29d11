"""Who may read which path, in every spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediacrawl.server.accounts.rights import PERSON_NAME, Person, Rights, is_private, may_add, may_read

ANNA = Person("anna")
BERT = Person("bert", can_read=False)
ALL = {None, ANNA, BERT}

# path: who may read it on a server that is public, and on one that is not
TABLE = {
    "": ({None, ANNA}, {ANNA}),
    "a.jpg": ({None, ANNA}, {ANNA}),
    "a/b.jpg": ({None, ANNA}, {ANNA}),
    "a/": ({None, ANNA}, {ANNA}),
    "a/~anna/b.jpg": ({None, ANNA}, {ANNA}),
    "a~anna": ({None, ANNA}, {ANNA}),
    "ä/b.jpg": ({None, ANNA}, {ANNA}),
    "\udcff/b.jpg": ({None, ANNA}, {ANNA}),
    "～anna/b.jpg": ({None, ANNA}, {ANNA}),  # a fullwidth tilde is another character to every file system
    "~anna": ({ANNA}, {ANNA}),
    "~anna/": ({ANNA}, {ANNA}),
    "~anna/a.jpg": ({ANNA}, {ANNA}),
    "~bert/a.jpg": ({BERT}, {BERT}),
    "~carl/a.jpg": (set(), set()),
    # Spellings that some file system takes for the folder of a person.
    "~Anna/a.jpg": (set(), set()),
    "~ANNA": (set(), set()),
    "~anna./a.jpg": (set(), set()),
    "~anna /a.jpg": (set(), set()),
    "~ann\u0430/a.jpg": (set(), set()),
    "~\u200canna/a.jpg": (set(), set()),
    "\u200c~anna/a.jpg": (set(), set()),
    "\u200d\ufeff~anna": (set(), set()),
    "\u2060~bert": (set(), set()),
    "\0~anna": (set(), set()),
    "~": (set(), set()),
    "~/a": (set(), set()),
    # Paths that lead elsewhere than their beginning says.
    "/~anna/a.jpg": (set(), set()),
    "/a.jpg": (set(), set()),
    "//": (set(), set()),
    "a//b": (set(), set()),
    "./~anna/a.jpg": (set(), set()),
    "a/../~anna/a.jpg": (set(), set()),
    "~bert/../~anna/a.jpg": (set(), set()),
    "~anna/../~bert/a.jpg": (set(), set()),
    "~anna/./a.jpg": (set(), set()),
    "..": (set(), set()),
    ".": (set(), set()),
    "/": (set(), set()),
}


@pytest.mark.parametrize("path", TABLE)
def test_who_may_read(path):
    for is_public, expected in zip((True, False), TABLE[path], strict=True):
        # On a public server, everybody may read the common folder, whatever their rights.
        may = expected | ({BERT} if is_public and None in expected else set())
        assert {person for person in ALL if may_read(person, path, is_public=is_public)} == may


SPELLINGS = st.text(st.sampled_from("~/.aAnN bert\0\u200c\u200d\ufeff\u0303e"), max_size=14)


@given(SPELLINGS)
def test_no_spelling_of_a_foreign_folder_is_readable(path):
    """Whatever a file system ignores: case, dots and blanks at the end, invisible characters."""
    first = path.split("/")[0].translate(dict.fromkeys(map(ord, "\0\u200c\u200d\ufeff"))).rstrip(". ").lower()
    if first.startswith("~"):
        may = {person for person in ALL if may_read(person, path, is_public=True)}
        assert may <= {person for person in (ANNA, BERT) if path.split("/")[0] == person.own_folder}


@pytest.mark.parametrize(("name", "is_one"), [("~a", True), ("a~", False), ("", False), ("\u200c", False)])
def test_a_private_name(name, is_one):
    assert is_private(name) is is_one


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("a", True),
        ("0", True),
        ("anna.b-c_d", True),
        ("a" * 32, True),
        ("a" * 33, False),
        ("", False),
        ("Anna", False),
        ("anna.", False),  # `~anna.` is `~anna` to FAT
        (".anna", False),
        ("~anna", False),
        ("an/na", False),
        ("anna\n", False),
        ("\u00e4nna", False),
        ("anna\u0661", False),
    ],
)
def test_the_name_of_a_person(name, is_one):
    assert (PERSON_NAME.fullmatch(name) is not None) is is_one


def test_a_person_has_the_rights_that_were_given():
    rights = Rights(can_read=False, can_upload=True, can_manage=True, quota_bytes=5)
    assert Person("a", *rights).rights == rights
    assert Person("a").own_folder == "~a"


@pytest.mark.parametrize("path", TABLE)
def test_who_may_add_may_read_and_upload(path):
    for is_public in (True, False):
        for person in (ANNA, BERT):
            assert not may_add(person, path, is_public=is_public)
            may = may_add(person._replace(can_upload=True), path, is_public=is_public)
            is_folder = "/" not in path and is_private(path)
            assert may == (may_read(person, path, is_public=is_public) and not is_folder)

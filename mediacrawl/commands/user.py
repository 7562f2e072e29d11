"""`mediacrawl user …`: the people of a server, on the machine; also while it runs."""

from __future__ import annotations

import argparse
import getpass
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from scrapy.exceptions import UsageError

from mediacrawl.cli.main import StoreCommand, one_line, refuse_missing_store
from mediacrawl.errors import UsageProblem
from mediacrawl.fetch.stats import size_text
from mediacrawl.visible import visible, visible_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediacrawl.server.accounts.rights import Person, Rights

_MOST_QUOTA = 2**63 - 1  # bytes: what SQLite keeps
_RIGHTS = {  # by the names of the options
    "read": "may read the common folder",
    "upload": "may add files",
    "manage": "may invite and remove people, and change their rights",
}
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SIZE = re.compile(r"(\d{1,12})([KMGT]?)", re.IGNORECASE)
_ADDRESS = "http://127.0.0.1:8000"  # of a server without options


class Command(StoreCommand):
    """Adds, lists, invites, changes and removes the people who may log in to `mediacrawl serve`."""

    def syntax(self) -> str:
        """Return the arguments, for `--help`."""
        return "add NAME | passwd NAME | rights NAME | list | remove NAME | invite"

    def short_desc(self) -> str:
        """Return the line of the list of commands."""
        return "Add, list, invite, change and remove the people of a server"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add the options of all actions."""
        super().add_options(parser)
        given = parser.add_argument_group("rights, for add, rights and invite")
        for name, meaning in _RIGHTS.items():
            given.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, help=meaning)
        given.add_argument(
            "--quota", metavar="SIZE", help="may add at most this many bytes; 20G: 20 GB; none: no limit"
        )
        parser.add_argument("--days", metavar="N", type=int, default=7, help="invite: until it expires (7)")
        parser.add_argument("--url", default=_ADDRESS, help=f"invite: address of the server ({_ADDRESS})")
        parser.add_argument("--json", action="store_true", help="list: one JSON object for each person")

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        """Run one action."""
        action, *names = args or [""]
        if action not in _ACTIONS:
            raise UsageError("give one of: " + self.syntax())
        function, takes_name = _ACTIONS[action]
        if len(names) != takes_name:
            raise UsageError(f"{action} takes {'the name of one person' if takes_name else 'no name'}")
        with one_line():
            self._set_up()
            from mediacrawl.server.accounts.configuration import usable_database  # noqa: PLC0415 - needs Django

            with usable_database():
                function(*names, opts)

    def _set_up(self) -> None:
        """Open the people of the store.

        Raises:
            UsageProblem: there is no such store.
            PackageMissing: Django is not installed.
        """
        refuse_missing_store(self._settings)
        root = Path(self.store().root)
        if not root.is_dir():
            raise UsageProblem(f"there is no folder {root}: choose the store with -s FILES_STORE=FOLDER")
        from mediacrawl.server.accounts import configuration  # noqa: PLC0415 - only this command needs Django
        from mediacrawl.server.options import ServeOptions  # noqa: PLC0415

        configuration.set_up(ServeOptions(store=root))
        configuration.migrate()


def _add(name: str, opts: argparse.Namespace) -> None:
    from mediacrawl.server.accounts import people  # noqa: PLC0415 - Django is set up only now

    rights = _rights(opts)
    people.check_name(name)
    if people.find_person(name) is not None:
        raise UsageProblem(f"there is a person with the name {name} already: for a new password, use: user passwd")
    people.add_person(name, _new_password(), rights)
    print(f"added: {name}")
    if not any(person.can_manage for person in people.list_people()):
        print(f"nobody can manage this server yet: user rights {name} --manage gives the right", file=sys.stderr)


def _passwd(name: str, _opts: argparse.Namespace) -> None:
    from mediacrawl.server.accounts import people  # noqa: PLC0415

    if people.find_person(name) is None:
        raise UsageProblem(f"there is no person with the name {name}, see: user list")
    people.change_password(name, _new_password())
    print(f"changed: {name}; open sessions have ended, application passwords stay")


def _change_rights(name: str, opts: argparse.Namespace) -> None:
    from mediacrawl.server.accounts import people  # noqa: PLC0415

    person = people.find_person(name)
    if person is None:
        raise UsageProblem(f"there is no person with the name {name}, see: user list")
    if opts.quota is None and all(getattr(opts, word) is None for word in _RIGHTS):
        raise UsageProblem("rights takes at least one of --read, --upload, --manage (or --no-read …), --quota SIZE")
    people.set_rights(name, _rights(opts, person.rights))
    print(_described(people.find_person(name) or person))


def _list(opts: argparse.Namespace) -> None:
    from mediacrawl.server.accounts import people  # noqa: PLC0415

    for person in people.list_people():
        print(visible_json(person._asdict()) if opts.json else _described(person))


def _remove(name: str, _opts: argparse.Namespace) -> None:
    from mediacrawl.server.accounts import people  # noqa: PLC0415

    people.remove_person(name)
    print(f"removed: {name}; the files in the folder ~{name} stay")


def _invite(opts: argparse.Namespace) -> None:
    from mediacrawl.server.accounts import people  # noqa: PLC0415

    token = people.invite(None, _rights(opts), opts.days)
    print(visible(f"{opts.url.rstrip('/')}/invitation/{token}"))
    print(f"for one person, within {opts.days} days; give the link to nobody else", file=sys.stderr)


_ACTIONS: dict[str, tuple[Callable[..., None], int]] = {
    "add": (_add, 1),
    "passwd": (_passwd, 1),
    "rights": (_change_rights, 1),
    "list": (_list, 0),
    "remove": (_remove, 1),
    "invite": (_invite, 0),
}


def _described(person: Person) -> str:
    """Return a person and their rights in one line."""
    words = [word for word, has in zip(("read", "upload", "manage"), person[1:4], strict=True) if has]
    quota = f", at most {size_text(person.quota_bytes)}" if person.quota_bytes is not None else ""
    return f"{person.name}: {' '.join(words) or 'own folder only'}{quota}"


def _rights(opts: argparse.Namespace, before: Rights | None = None) -> Rights:
    """Return the rights of a person, with the given ones changed; `before` is None for a new person."""
    from mediacrawl.server.accounts.rights import Rights  # noqa: PLC0415

    given = {f"can_{word}": getattr(opts, word) for word in _RIGHTS}
    changed = {name: value for name, value in given.items() if value is not None}
    if opts.quota is not None:
        changed["quota_bytes"] = _size(opts.quota)
    return (before or Rights())._replace(**changed)


def _size(text: str) -> int | None:
    """Return a quota in bytes; None for "none"."""
    if text.lower() == "none":
        return None
    found = _SIZE.fullmatch(text)
    if found is None:
        raise UsageProblem(f"--quota {text}: expected a number of bytes, or one with K, M, G or T, as 20G, or none")
    size = int(found[1]) * _UNITS[found[2].upper()]
    if size > _MOST_QUOTA:
        raise UsageProblem(f"--quota {text}: expected at most 9,000,000 TB; without --quota, there is no limit")
    return size


def _new_password() -> str:
    """Return a password that is typed twice, or the first line of a standard input that is no terminal.

    Raises:
        UsageProblem: the two differ, or there is no line.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        line = sys.stdin.readline() if sys.stdin is not None else ""
        if not line.rstrip("\r\n"):
            raise UsageProblem("no password on standard input: expected one line with it")
        return line.rstrip("\r\n")
    try:
        password = getpass.getpass("Password: ")
        if getpass.getpass("The same again: ") != password:
            raise UsageProblem("the two passwords differ: nothing was changed")
    except EOFError:
        raise UsageProblem("no password was typed: nothing was changed") from None
    return password

"""Bring the databases of a server up to date, and make its first administrator: a process that ends afterwards."""

from __future__ import annotations

import sys

from mediacrawl.errors import EXIT_OK, MediacrawlError
from mediacrawl.server.child_options import log_to_stderr, receive_options


def main() -> None:
    """Prepare the store that the parent process names. Exit with the status of the error, if there is one."""
    options = receive_options()
    log_to_stderr()
    try:
        from mediacrawl.server.accounts.first_start import first_administrator  # noqa: PLC0415 - may be missing

        made = first_administrator(options)
    except MediacrawlError as error:
        print(f"mediacrawl: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_status)
    if made is not None:
        told = (
            f"the password {made.password} (it is shown only now)" if made.password else "the password that was given"
        )
        print(f"The first person is {made.name}, with {told}.")  # noqa: T201
    sys.exit(EXIT_OK)


if __name__ == "__main__":
    main()

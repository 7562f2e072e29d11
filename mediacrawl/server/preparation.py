"""Bring the databases of a server up to date, and make its first administrator: a process that ends afterwards."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from typing import TYPE_CHECKING

from mediacrawl.errors import EXIT_OK, MachineError, MediacrawlError
from mediacrawl.server.child_options import log_to_stderr, receive_options

if TYPE_CHECKING:
    from mediacrawl.server.accounts.first_start import FirstAdministrator
    from mediacrawl.server.options import ServeOptions

_STANDARD_OUTPUT = 1


def main() -> None:
    """Prepare the store that the parent process names. Exit with the status of the error, if there is one."""
    options = receive_options()
    log_to_stderr()
    try:
        from mediacrawl.server.accounts.first_start import first_administrator  # noqa: PLC0415 - may be missing

        made = first_administrator(options)
        if made is not None:
            _tell(made, options)
    except MediacrawlError as error:
        print(f"mediacrawl: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_status)
    sys.exit(EXIT_OK)


def _tell(made: FirstAdministrator, options: ServeOptions) -> None:
    """Write the name and the password to standard output.

    Raises:
        MachineError: nobody can have read them.
    """
    password = (
        f"the password {made.password} (it is shown only now)" if made.password else "the password that was given"
    )
    text = f"The first person is {made.name}, with {password}.\n"
    try:
        if sys.stdout is None:
            raise OSError(errno.EBADF, "it is closed")
        os.write(_STANDARD_OUTPUT, text.encode())
    except OSError as error:
        store = shlex.quote(f"FILES_STORE={options.store}")
        raise MachineError(
            f"the first password could not be written to standard output: {error.strerror}. Set another one with: "
            f"mediacrawl user passwd {made.name} -s {store}"
        ) from None


if __name__ == "__main__":
    main()

"""When an upload by FTP is whole. No I/O.

FTP tells the end of a file by the end of the data connection (RFC 959, stream mode), which looks the same when the
client was killed. So the next commands decide: a client that goes on with something else has sent the whole file; a
client that is gone, that aborts or that asks how much has arrived has not.
"""

from __future__ import annotations

from enum import Enum

STILL_OPEN_S = 2.0
"""An upload is whole, too, if the client is still there this many seconds after its end, or its last command."""

# They prepare a transfer, and so come before a command that continues an upload as well as before any other one.
_PREPARING = frozenset(
    {"ALLO", "EPRT", "EPSV", "FEAT", "MODE", "NOOP", "OPTS", "PASV", "PBSZ", "PORT", "PROT", "REST", "STRU", "SYST"}
    | {"RNTO", "TYPE"}
)
# A client asks these about its own upload, or names it, also when it then continues it.
_ABOUT_A_FILE = frozenset({"MDTM", "MFMT", "MLST", "RNFR", "SIZE"})
_CHANGING_A_FILE = frozenset({"APPE", "DELE", "STOR"})


class Settlement(Enum):
    """What a command says about an upload whose data connection has ended in order."""

    OPEN = "nothing yet"
    WHOLE = "all of the file was sent"
    PART = "the upload is not whole"


def settle(path: str, command: str, path_of_command: str) -> Settlement:
    """Return what a command says about an upload.

    Args:
        path: of the upload, as the client has named it.
        command: in upper case.
        path_of_command: its argument as a path; meaningless for commands that take no path.
    """
    if command == "ABOR":
        return Settlement.PART
    if command in _PREPARING:
        return Settlement.OPEN
    if path_of_command == path:
        if command in _ABOUT_A_FILE:
            return Settlement.OPEN
        if command in _CHANGING_A_FILE:
            return Settlement.PART
    return Settlement.WHOLE


def is_whole_length(announced: int | None, offset: int, begun_at: int) -> bool:
    """Return whether an upload has the length that the client has announced with ALLO.

    Args:
        announced: by the client: of the whole file, or else of the part that it was to send; None: it did not say.
        offset: the number of bytes that there are now.
        begun_at: the offset at which the last transfer has begun.
    """
    return announced is None or announced in {offset, offset - begun_at}

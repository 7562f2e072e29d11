"""The pages of errors. They need neither a database nor a person, and repeat nothing of the request."""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import HttpResponse
from django.template.loader import render_to_string
from django.urls import get_script_prefix
from django.utils.log import log_response

_RETRY_AFTER_S = 10


class _Text(NamedTuple):
    title: str
    advice: str


_TEXTS = {
    400: _Text("Bad request", "The address, or the form, is not one of this server."),
    403: _Text("Not allowed", "Your rights do not include this. A manager of this server can give them."),
    404: _Text("Not found", "There is nothing at this address. It may have been renamed or removed."),
    429: _Text("Too many attempts", ""),
    500: _Text("Error", "The server has failed. Its log says why."),
    503: _Text("Busy", "The server cannot do this now. Repeat it in a few seconds."),
}


def error_page(status: int, advice: str = "", *, retry_after_s: int | None = None) -> Any:
    """Return the page of an error.

    Args:
        status: 400, 403, 404, 429, 500 or 503.
        advice: instead of the usual one: what the person can do.
        retry_after_s: seconds after which a repetition may succeed.
    """
    text = _TEXTS[status]
    facts = {"status": status, "title": text.title, "advice": advice or text.advice, "start": get_script_prefix()}
    response = HttpResponse(render_to_string("pages/error.html", facts), status=status)
    response.headers["Cache-Control"] = "no-store"
    if retry_after_s is not None:
        response.headers["Retry-After"] = str(retry_after_s)
    return response


def too_many_attempts(retry_after_s: float) -> Any:
    """Return the page for a person whose password has been wrong too often."""
    seconds = max(1, round(retry_after_s))
    wait = f"{seconds} seconds" if seconds < 120 else f"{round(seconds / 60)} minutes"
    return error_page(429, f"The password was wrong too often. Try again in {wait}.", retry_after_s=seconds)


def bad_request(*_arguments: Any, **_named: Any) -> Any:
    """Return the page for a request that Django refuses, as `handler400`."""
    return error_page(400)


def forbidden(*_arguments: Any, **_named: Any) -> Any:
    """Return the page for a person without the right, as `handler403`."""
    return error_page(403)


def not_found(*_arguments: Any, **_named: Any) -> Any:
    """Return the page for a path without a page, as `handler404`."""
    return error_page(404)


def failed(request: Any = None, *_arguments: Any, **_named: Any) -> Any:
    """Return the page for an error of the server, as `handler500`: it is called while the error is handled.

    An error of the machine, as a disk that is full, is one line of the log, and the page says that it may pass.
    """
    error = sys.exception()
    if request is None or error is None or not _is_of_machine(error):
        return error_page(500)
    response = error_page(503, retry_after_s=_RETRY_AFTER_S)
    log_response("%s cannot be answered: %s", request.path, str(error), request=request, response=response)
    return response


def _is_of_machine(error: BaseException) -> bool:
    """Return whether a disk or a limit of the system is the cause, and no fault of the program."""
    is_of_database = isinstance(error, OperationalError | InterfaceError)
    return isinstance(error, OSError) or is_of_database or type(error) is DatabaseError  # its other kinds are faults


def csrf_failed(*_arguments: Any, **_named: Any) -> Any:
    """Return the page for a form that was not sent from a page of this server, as `CSRF_FAILURE_VIEW`."""
    return error_page(
        400, "The form is too old, or is not from this server. Go back, reload the page, send it again."
    )

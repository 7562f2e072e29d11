"""Django as this server uses it: its settings, and its database. It can be imported before Django is set up."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from mediacrawl.errors import PackageMissing, StoreNotWritable, disk_error
from mediacrawl.server.accounts.throttling import COOL_OFF, MOST_OF_PAIR
from mediacrawl.store.local import HIDDEN
from mediacrawl.system.directories import OWN_FOLDER, Directory, make_private, write_all
from mediacrawl.system.private_sqlite import prepare_private, withdraw_permissions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mediacrawl.server.options import ServeOptions

try:
    import django
    from django.conf import settings
except ImportError:
    raise PackageMissing("people need Django: pip install 'mediacrawl[serve]'") from None

PEOPLE_NAME = "people.sqlite3"
SESSION_S = 14 * 24 * 3600  # of a session since its login
BODY_BYTES = 1024 * 1024  # the largest body of a request for a page

_SECRET_NAME = "secret_key"  # noqa: S105 - of a file
_LEAST_SECRET = 50  # characters, as Django's own check wants them
WRITER_WAITED_FOR_S = 30  # to wait for another process that writes

# No script, and no inline style: text of strangers in a page stays text.
CONTENT_POLICY = "; ".join(
    [
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("font", "img", "manifest", "media", "style")),
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)

# HTTP Strict Transport Security holds for all ports of a host, so that other services of a household, without TLS,
# could not be reached any more: it is for the proxy to set.
_SILENCED = ["security.W004"]


def people_database(store: Path) -> Path:
    """Return the path of the database of people."""
    return store / HIDDEN / PEOPLE_NAME


def django_settings(options: ServeOptions) -> dict[str, Any]:
    """Return the settings of Django. Creates the secret key of the store, and an empty database, if they are missing.

    Raises:
        StoreNotWritable: the hidden folder of the store cannot be used.
    """
    hidden = _hidden_folder(options.store)
    return {
        "SERVE_OPTIONS": options,
        "SECRET_KEY": _secret_key(hidden),
        "DEBUG": False,
        "ALLOWED_HOSTS": _allowed_hosts(options),
        "FORCE_SCRIPT_NAME": options.prefix,
        "ROOT_URLCONF": "mediacrawl.server.pages.urls",
        "CSRF_FAILURE_VIEW": "mediacrawl.server.pages.error_views.csrf_failed",
        "APPEND_SLASH": False,
        "INSTALLED_APPS": [
            "mediacrawl.server.accounts",
            "mediacrawl.server.pages",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "axes",
        ],
        "MIDDLEWARE": [
            "django.middleware.security.SecurityMiddleware",
            "mediacrawl.server.accounts.middleware.content_policy",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
            "axes.middleware.AxesMiddleware",
        ],
        "TEMPLATES": [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
            }
        ],
        "DATABASES": {"default": _database(people_database(options.store))},
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "DATA_UPLOAD_MAX_MEMORY_SIZE": BODY_BYTES,
        "LOGGING_CONFIG": None,  # the log belongs to the command
        "USE_I18N": False,
        "USE_TZ": True,
        "SILENCED_SYSTEM_CHECKS": _SILENCED,
        **_login_settings(options),
        **_cookie_settings(options),
    }


def set_up(options: ServeOptions) -> None:
    """Set Django up for a store. Once for each process.

    Raises:
        StoreNotWritable: the hidden folder of the store cannot be used.
        RuntimeError: Django has been set up for something else.
    """
    if settings.configured:
        if getattr(settings, "SERVE_OPTIONS", None) == options:
            return
        raise RuntimeError("Django has been set up for something else in this process")
    settings.configure(**django_settings(options))
    django.setup()


def migrate() -> None:
    """Bring the tables up to date, and remove rows that have expired. For one process at a time, before the others.

    Raises:
        StoreNotWritable: the database cannot be used.
    """
    from django.core.management import call_command  # noqa: PLC0415 - once Django is set up

    from mediacrawl.server.accounts import people  # noqa: PLC0415

    with usable_database():
        call_command("migrate", verbosity=0, interactive=False)
        people.remove_expired()
    withdraw_permissions(people_database(settings.SERVE_OPTIONS.store))


@contextmanager
def usable_database() -> Iterator[None]:
    """Raise `StoreNotWritable` for errors of the database of people: it is locked, full, read-only or damaged."""
    from django.db import DatabaseError  # noqa: PLC0415 - once Django is set up

    try:
        yield
    except DatabaseError as error:
        path = people_database(settings.SERVE_OPTIONS.store)
        raise StoreNotWritable(f"cannot use {path}: {error}; restore a copy of it, or free space") from None


def session_cookie(options: ServeOptions) -> str:
    """Return the name of the cookie of a session."""
    return _cookie_name(options, "session")


def _allowed_hosts(options: ServeOptions) -> list[str]:
    """Return the names that Django accepts: all, if `HostCheck`, which is asked before, accepts each address."""
    return ["*"] if options.listens_everywhere and not options.hosts else list(options.accepted_hosts)


def _login_settings(options: ServeOptions) -> dict[str, Any]:
    validation = "django.contrib.auth.password_validation"
    return {
        "AUTHENTICATION_BACKENDS": [
            "axes.backends.AxesStandaloneBackend",
            "django.contrib.auth.backends.ModelBackend",
        ],
        "PASSWORD_HASHERS": ["mediacrawl.server.accounts.passwords.PasswordHasher"],
        "AUTH_PASSWORD_VALIDATORS": [
            {"NAME": f"{validation}.UserAttributeSimilarityValidator", "OPTIONS": {"user_attributes": ["username"]}},
            {"NAME": f"{validation}.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
            {"NAME": f"{validation}.CommonPasswordValidator"},
        ],
        "LOGIN_URL": f"{options.prefix}/login",
        "LOGIN_REDIRECT_URL": f"{options.prefix}/files/",
        "LOGOUT_REDIRECT_URL": f"{options.prefix}/login",
        "AXES_FAILURE_LIMIT": MOST_OF_PAIR,
        "AXES_LOCKOUT_PARAMETERS": [["username", "ip_address"]],
        "AXES_COOLOFF_TIME": COOL_OFF,
        "AXES_CLIENT_IP_CALLABLE": "mediacrawl.server.accounts.throttling.address_for_axes",
        "AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT": False,
        "AXES_DISABLE_ACCESS_LOG": True,
        "AXES_VERBOSE": False,
    }


def _cookie_settings(options: ServeOptions) -> dict[str, Any]:
    """Return the settings of cookies, and of TLS."""
    shared = {"HTTPONLY": True, "SAMESITE": "Lax", "SECURE": options.is_secure, "PATH": f"{options.prefix}/"}
    return {
        "SESSION_ENGINE": "django.contrib.sessions.backends.db",
        "SESSION_COOKIE_NAME": session_cookie(options),
        "SESSION_COOKIE_AGE": SESSION_S,
        "CSRF_COOKIE_NAME": _cookie_name(options, "csrf"),
        **{f"{kind}_COOKIE_{key}": value for kind in ("SESSION", "CSRF") for key, value in shared.items()},
        "SECURE_SSL_REDIRECT": options.is_secure,
        "SECURE_REFERRER_POLICY": "same-origin",
        "X_FRAME_OPTIONS": "DENY",
    }


def _cookie_name(options: ServeOptions, use: str) -> str:
    """Return a name that no other server of this host takes: cookies of all ports are sent to all of them.

    The prefix is in it: of two cookies with one name, for "/" and for "/media/", Django takes that of "/".

    With the prefixes `__Host-` and `__Secure-`, a browser takes the cookie from this host and over TLS only.
    """
    guard = "" if not options.is_secure else "__Secure-" if options.prefix else "__Host-"
    return f"{guard}mediacrawl_{use}_{options.port}{options.prefix.replace('/', '.')}"


def _database(path: Path) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": f"{path.absolute().as_uri()}?mode=rw",  # one that was deleted is not made anew, without tables
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",  # a revocation outlives a power cut
            "transaction_mode": "IMMEDIATE",
            "timeout": WRITER_WAITED_FOR_S,
        },
    }


def _hidden_folder(store: Path) -> Directory:
    """Return the hidden folder of a store, with a database in it that no other user can read."""
    try:
        hidden = Directory.at(str(store)).make([HIDDEN], OWN_FOLDER)[0]
        make_private(hidden.fd, hidden.path)
        prepare_private(people_database(store))
        withdraw_permissions(people_database(store))
    except OSError as error:
        raise disk_error(error, f"the store {store}") from None
    return hidden


def _secret_key(hidden: Directory) -> str:
    """Return the secret with which cookies and links are signed; make one for a new store.

    Raises:
        StoreNotWritable: it cannot be read or written.
    """
    path = f"{hidden.path}/{_SECRET_NAME}"
    try:
        text = _read_or_make_secret(hidden)
    except OSError as error:
        raise disk_error(error, path, "use") from None
    if len(text) < _LEAST_SECRET:
        raise StoreNotWritable(f"{path} is too short for a key: remove it, which ends all sessions")
    return text


def _read_or_make_secret(hidden: Directory) -> str:
    with suppress(FileNotFoundError):
        return hidden.read(_SECRET_NAME).decode("ascii", "replace").strip()
    name = f"{_SECRET_NAME}-{secrets.token_hex(8)}"
    descriptor = hidden.create_file(name)
    try:
        write_all(descriptor, secrets.token_urlsafe(64).encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        hidden.move(name, hidden, _SECRET_NAME)
    except FileExistsError:  # another process was quicker
        hidden.remove(name)
    hidden.sync()
    return hidden.read(_SECRET_NAME).decode("ascii", "replace").strip()

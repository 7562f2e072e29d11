"""The Django application `accounts`."""

from __future__ import annotations

import logging

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Connect the signals of revoked logins, and leave the log of failed logins to `people`."""

    name = "mediacrawl.server.accounts"
    label = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Prepare the application, once for each process."""
        from mediacrawl.server.accounts import revocations  # noqa: PLC0415 - models can be imported only now

        revocations.connect_signals()
        logging.getLogger("axes").setLevel(logging.ERROR)  # it logs names as they were typed: some are passwords

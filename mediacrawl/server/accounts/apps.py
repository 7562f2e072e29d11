"""The Django application `accounts`."""

from __future__ import annotations

import logging

from django.apps import AppConfig

from mediacrawl.server.access_log import mask_secrets


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
        # The access log has a line for each request that is refused; Django logs some of them with a traceback.
        logging.getLogger("django.request").setLevel(logging.ERROR)
        logging.getLogger("django.security").setLevel(logging.CRITICAL)
        logging.getLogger("django.request").addFilter(mask_secrets)  # whatever handlers the server has

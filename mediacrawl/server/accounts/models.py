"""The tables of people, beside Django's own: `auth.User` has the name and the hash of the password."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models


class RightsFields(models.Model):
    """The fields of `Rights`."""

    can_read = models.BooleanField(default=True)
    can_upload = models.BooleanField(default=False)
    can_manage = models.BooleanField(default=False)
    quota_bytes = models.PositiveBigIntegerField(null=True)

    class Meta:
        """Has no table of its own."""

        abstract = True


class Account(RightsFields):
    """The rights of a user. Each user has one."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, related_name="account")


class Invitation(RightsFields):
    """An invitation, for one person, with the rights that this person will have. Of its token, a hash is kept."""

    digest = models.CharField(max_length=64, unique=True)  # SHA-256, hexadecimal
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, related_name="invitations")
    made_at = models.DateTimeField()
    expires_at = models.DateTimeField()


class ApplicationPassword(models.Model):
    """A password for a program, made by the server: it is long and random, so that a plain hash is enough."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="application_passwords")
    digest = models.CharField(max_length=64, unique=True)  # SHA-256, hexadecimal
    label = models.CharField(max_length=60)
    made_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True)


class KnownAddress(models.Model):
    """An address from which a person has logged in: logins from there are not slowed by failures of others."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="known_addresses")
    address = models.GenericIPAddressField()
    last_login_at = models.DateTimeField()

    class Meta:
        """Keep one row for each address of a person."""

        constraints: ClassVar = [models.UniqueConstraint(fields=["user", "address"], name="one_row_for_an_address")]

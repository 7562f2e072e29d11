"""The tables of the first version."""

from __future__ import annotations

from typing import ClassVar

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

_USER = settings.AUTH_USER_MODEL


def _key() -> tuple[str, models.Field]:
    return "id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")


def _rights() -> list[tuple[str, models.Field]]:
    return [
        ("can_read", models.BooleanField(default=True)),
        ("can_upload", models.BooleanField(default=False)),
        ("can_manage", models.BooleanField(default=False)),
        ("quota_bytes", models.PositiveBigIntegerField(null=True)),
    ]


def _user(related_name: str, *, null: bool = False) -> models.ForeignKey:
    return models.ForeignKey(
        null=null, on_delete=django.db.models.deletion.CASCADE, related_name=related_name, to=_USER
    )


class Migration(migrations.Migration):
    """Create the tables."""

    initial = True
    dependencies: ClassVar = [migrations.swappable_dependency(_USER)]
    operations: ClassVar = [
        migrations.CreateModel(
            name="Account",
            fields=[
                _key(),
                *_rights(),
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="account", to=_USER
                    ),
                ),
            ],
            options={"abstract": False},
        ),
        migrations.CreateModel(
            name="Invitation",
            fields=[
                _key(),
                *_rights(),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("made_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("made_by", _user("invitations", null=True)),
            ],
            options={"abstract": False},
        ),
        migrations.CreateModel(
            name="ApplicationPassword",
            fields=[
                _key(),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("label", models.CharField(max_length=60)),
                ("made_at", models.DateTimeField()),
                ("last_used_at", models.DateTimeField(null=True)),
                ("user", _user("application_passwords")),
            ],
        ),
        migrations.CreateModel(
            name="KnownAddress",
            fields=[
                _key(),
                ("address", models.GenericIPAddressField()),
                ("last_login_at", models.DateTimeField()),
                ("user", _user("known_addresses")),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("user", "address"), name="one_row_for_an_address")],
            },
        ),
    ]

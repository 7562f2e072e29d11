"""The forms of the pages. What a name or a password may be, `people` decides."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.core.validators import MaxLengthValidator

from mediacrawl.server.accounts.people import DAYS_OF_INVITATION
from mediacrawl.server.accounts.rights import Rights

_MOST_NAME = 150
_MOST_PASSWORD = 2_000
_GB = Decimal(10**9)
# The rules of `people` in words, before a person has broken them.
_NAME_RULE = "For example anna: letters from a to z, digits, '.', '_' and '-'."
_NEW_RULE = "At least 10 characters, and no common password."


def _name_field(autocomplete: str, rule: str = "") -> Any:
    attributes = {"autocomplete": autocomplete, "autocapitalize": "none", "spellcheck": "false"}
    return forms.CharField(label="Name", max_length=_MOST_NAME, help_text=rule, widget=forms.TextInput(attributes))


def _password_field(label: str, autocomplete: str, rule: str = "") -> Any:
    """Return a field whose text is taken as it is, blanks at its ends too."""
    widget = forms.PasswordInput({"autocomplete": autocomplete})
    validators = [MaxLengthValidator(_MOST_PASSWORD)]
    return forms.CharField(label=label, strip=False, help_text=rule, widget=widget, validators=validators)


class _Form(forms.Form):
    """A form whose labels end without a colon."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, label_suffix="", **named)


class LoginForm(_Form):
    """A name and a password."""

    name = _name_field("username")
    password = _password_field("Password", "current-password")


class _NewPassword(_Form):
    """A password that is typed twice."""

    def clean(self) -> Any:
        """Return the values; add an error if the two passwords differ."""
        values = super().clean()
        if values.get("password") and values.get("again") and values["password"] != values["again"]:
            self.add_error("again", "The two passwords differ.")
        return values


class InvitationForm(_NewPassword):
    """The name and the password of a new person."""

    name = _name_field("username", _NAME_RULE)
    password = _password_field("Password", "new-password", _NEW_RULE)
    again = _password_field("The password again", "new-password")


class PasswordForm(_NewPassword):
    """A change of one's own password."""

    current = _password_field("Current password", "current-password")
    password = _password_field("New password", "new-password", _NEW_RULE)
    again = _password_field("The new password again", "new-password")


class LabelForm(_Form):
    """A new application password."""

    label = forms.CharField(
        label="For which program or device", max_length=60, widget=forms.TextInput({"autocomplete": "off"})
    )


class NumberForm(_Form):
    """The number of an application password, or of an invitation."""

    number = forms.IntegerField(min_value=0, max_value=2**63 - 1)


class NameForm(_Form):
    """The name of a person to remove."""

    name = forms.CharField(max_length=_MOST_NAME)


class RightsForm(_Form):
    """The rights of a person."""

    can_read = forms.BooleanField(label="Read", required=False)
    can_upload = forms.BooleanField(label="Upload", required=False)
    can_manage = forms.BooleanField(label="Manage", required=False)
    quota = forms.DecimalField(
        label="Quota (GB)",
        required=False,
        min_value=0,
        max_value=10**9,
        decimal_places=9,
        widget=forms.NumberInput({"placeholder": "none", "step": "any"}),
    )

    @classmethod
    def of(cls, rights: Rights) -> Any:
        """Return a form with these rights."""
        quota = None if rights.quota_bytes is None else f"{(rights.quota_bytes / _GB).normalize():f}"
        return cls(initial=rights._asdict() | {"quota": quota}, auto_id=False)

    def rights(self) -> Rights:
        """Return the rights that are chosen in a valid form."""
        values = self.cleaned_data
        quota = None if values["quota"] is None else int(values["quota"] * _GB)
        return Rights(values["can_read"], values["can_upload"], values["can_manage"], quota)


class ChangedRights(RightsForm):
    """The new rights of a person."""

    name = forms.CharField(max_length=_MOST_NAME)


class InviteForm(RightsForm):
    """The rights of an invited person, and how long the invitation is valid."""

    days = forms.IntegerField(label="Valid for days", min_value=1, max_value=365, initial=DAYS_OF_INVITATION)

"""How logins are slowed: by the pair of name and address, by address, and less by name.

Failed logins are kept by django-axes, which refuses logins by the pair, too.

- Of a pair, and of an address, logins are refused for a while after too many failures.
- Of a name alone, logins are never refused for longer than a few seconds: else anybody could lock a person out. From
  an address at which this person has logged in before, they are not slowed at all.
"""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

COOL_OFF = timedelta(minutes=15)
MOST_OF_PAIR = 10  # failures within the time of `COOL_OFF`
MOST_OF_ADDRESS = 30
FREE_OF_NAME = 20  # failures after which the next login waits
LONGEST_OF_NAME_S = 8.0

_SUBSCRIBER_BITS = 64  # an IPv6 subscriber has all addresses with the same first bits
_UNKNOWN = "0.0.0.0"  # noqa: S104 - no address to listen at: that of a client at a Unix socket


class Count(NamedTuple):
    """Failures of late.

    Attributes:
        failures: how many.
        age_s: seconds since the last one.
    """

    failures: int = 0
    age_s: float = 0.0


class RecentFailures(NamedTuple):
    """The failures of a pair, of its address, and of its name."""

    of_pair: Count = Count()
    of_address: Count = Count()
    of_name: Count = Count()


def seconds_to_wait(recent: RecentFailures, *, is_known_address: bool) -> float:
    """Return the seconds until a login may be tried; 0.0: now."""
    waits = [0.0]
    for count, most in ((recent.of_pair, MOST_OF_PAIR), (recent.of_address, MOST_OF_ADDRESS)):
        if count.failures >= most:
            waits.append(COOL_OFF.total_seconds() - count.age_s)
    over = recent.of_name.failures - FREE_OF_NAME
    if over >= 0 and not is_known_address:
        pause_s = LONGEST_OF_NAME_S if over > LONGEST_OF_NAME_S else min(2.0**over, LONGEST_OF_NAME_S)
        waits.append(pause_s - recent.of_name.age_s)
    return max(waits)


def recent_failures(name: str, address: str, now: datetime) -> RecentFailures:
    """Return the failures that django-axes has kept.

    Args:
        name: as it was given to django-axes.
        address: a result of `throttled_address`.
        now: the time.
    """
    from axes.models import AccessAttempt  # noqa: PLC0415 - models can be imported once Django is set up
    from django.db.models import Max, Q, Sum  # noqa: PLC0415

    of_address, of_name = Q(ip_address=address), Q(username=name)
    conditions = {"of_pair": of_address & of_name, "of_address": of_address, "of_name": of_name}
    wanted: dict[str, Any] = {}
    for key, condition in conditions.items():
        wanted[f"{key}_failures"] = Sum("failures_since_start", filter=condition, default=0)
        wanted[f"{key}_at"] = Max("attempt_time", filter=condition)
    found = AccessAttempt.objects.filter(of_address | of_name, attempt_time__gt=now - COOL_OFF).aggregate(**wanted)
    return RecentFailures(
        **{
            key: Count(found[f"{key}_failures"], (now - (found[f"{key}_at"] or now)).total_seconds())
            for key in conditions
        }
    )


def throttled_address(address: str) -> str:
    """Return the address that stands for a client: an IPv4 address, or the first of the addresses of a subscriber."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return _UNKNOWN
    if found.version == 4:
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, _SUBSCRIBER_BITS), strict=False).network_address)


def address_for_axes(request: Any) -> str:
    """Return the address of a request of Django, for django-axes."""
    return throttled_address(request.META.get("REMOTE_ADDR", ""))

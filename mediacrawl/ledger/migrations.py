"""The formats that a ledger has had, and the steps from each to the next."""

from __future__ import annotations

# `STEPS[n - 1]` is one SQL statement that brings a ledger of format n to format n + 1. A ledger that is opened for
# writing takes the steps that it lacks in one transaction: a crash leaves the old format, with every row.
# A step may add a column that can be NULL: a process of the version before that has the ledger open goes on working.
STEPS: tuple[str, ...] = ()

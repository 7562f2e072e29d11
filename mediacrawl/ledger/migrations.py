"""The former formats of the ledger, and the steps from each format to the next."""

from __future__ import annotations

# `STEPS[n - 1]` is one SQL statement that converts a ledger of format n to format n + 1. When a ledger is opened for
# writing, the missing steps are executed in one transaction: a crash leaves the old format, with every row.
# A step may add a column that can be NULL: a process of the previous version that has the ledger open can continue.
STEPS: tuple[str, ...] = ("ALTER TABLE files ADD COLUMN identity TEXT",)

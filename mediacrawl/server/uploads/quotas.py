"""The bytes that a person may still add.

What a person has added, and what is reserved for uploads that are not finished, stands in the rows of the ledger. A
reservation is made in one transaction with the sum that it has to fit in, so that it holds with several uploads at
once, and in several processes.
"""

from __future__ import annotations

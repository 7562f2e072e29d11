"""The ledger: what is wanted, done and failed."""

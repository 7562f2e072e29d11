"""The ledger: the state of every file: wanted, done or failed."""

"""Transfers in separate processes: an additional thread makes `requests` slower, an additional process faster."""

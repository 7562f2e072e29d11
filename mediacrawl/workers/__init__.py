"""Transfers in processes of their own: a thread more makes `requests` slower, a process more makes it faster."""

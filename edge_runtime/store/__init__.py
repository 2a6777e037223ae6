"""The one SQLite file: every queue of every target, and the ledger."""

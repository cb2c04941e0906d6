"""SQLite: documents, people and keys, ledger."""

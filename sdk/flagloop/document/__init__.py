"""The document: its types, its words, its text."""

"""Keeping a client's ruleset fresh."""

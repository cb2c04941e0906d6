"""Thin Flask handlers: decode, one domain call, encode."""

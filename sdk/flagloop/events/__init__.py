"""Exposures and events: types, de-duplication, delivery."""

"""The demo's application and visitors."""

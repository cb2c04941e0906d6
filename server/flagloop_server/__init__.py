"""The flagloop server."""

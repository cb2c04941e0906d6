"""How routes of the admin API are made: by one decorator that checks, decodes, encodes, tells."""

from flagloop_server.web.rest.operation import Operation, operation

__all__ = ["Operation", "operation"]

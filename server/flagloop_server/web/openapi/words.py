"""What the signatures do not say: names of groups, parameters of paths, refusals, examples."""

from __future__ import annotations

from typing import Any

TAGS = {
    "SDKs": "What applications call, with a server key (or a client key, for events alone).",
    "Flags": "Flags as people see them.",
    "Document": "The text of an environment, operating flags, history, revert and undo.",
    "Items and changes": "Any item of the document; several steps as one revision; previews.",
    "Questions": "Environments compared, and what any context gets at any time.",
    "Server": "Who am I, environments, keys, people, the ledger.",
    "Operation": "For load balancers and monitoring.",
    "This document": "The document itself.",
}

TAG_OF = {
    "flags": "Flags",
    "admin": "Document",
    "items": "Items and changes",
    "questions": "Questions",
    "places": "Server",
    "instances": "Flags",
    "sections": "Items and changes",
    "openapi": "This document",
}
"""Blueprint -> tag."""

PATH_PARAMETERS = {
    "env": "An environment's key.",
    "flag": "A flag's key.",
    "rule": "A rule's name.",
    "layer": "A layer's key.",
    "section": "flags, segments, layers, holdouts, metrics or experiments.",
    "key": "An item's key.",
    "revision": "A revision's number.",
    "key_id": "A key's number.",
    "email": "A person's address.",
}

REFUSALS = {
    400: ("BadRequest", "The body, the query or the form's token is not as it should be."),
    401: ("Unauthorized", "No key and no session, or none that is good."),
    403: ("Forbidden", "The key or the role does not allow this."),
    404: ("NotFound", "There is no such thing; the message names the nearest."),
    408: ("Timeout", "The body came too slowly."),
    409: ("Conflict", "Somebody else changed the same, or an experiment would be disturbed."),
    413: ("TooLarge", "The body is too large."),
    415: ("UnsupportedEncoding", "The body's encoding is not known."),
    422: ("InvalidDocument", "The document would have problems: each with its place and mend."),
    429: ("TooManyRequests", "Too much of this at once; `Retry-After` says when to come again."),
    503: ("Unavailable", "The server is busy; `Retry-After` says when to come again."),
}

READS = (400, 401, 403, 404, 503)
WRITES = (400, 401, 403, 404, 409, 413, 422, 503)

_ITEM = {"section": "flags", "key": "new_checkout"}
_PUT = {"do": "put", **_ITEM}
_TEXT = "new_checkout:\n  rules:\n    - {name: canary, share: 25%, serve: on}\n"

EXAMPLES: dict[str, dict[str, Any]] = {
    "push": {"text": "version: 1\n\nflags:\n  new_checkout: {}\n", "base": 2, "dry_run": True},
    "kill": {"reason": "checkout fails on Safari"},
    "restore": {"reason": "fixed in 2.3.1"},
    "archive": {"reason": "removed from the code"},
    "unarchive": {"reason": "still used by the app"},
    "share": {"share": "25%", "reason": "looks good"},
    "pause": {"reason": "holidays"},
    "resume": {"reason": "back"},
    "revert": {"reason": "back to Friday", "state": False},
    "undo": {"reason": "wrong environment"},
    "archive_flags": {"flags": ["old_banner", "new_logo"], "reason": "not evaluated for 60 days"},
    "put_item": {"text": _TEXT, "expected": 2, "reason": "wider canary"},
    "remove_item": {"reason": "not used"},
    "revert_item": {"revision": 2, "reason": "back to Friday"},
    "change": {
        "steps": [
            {**_PUT, "text": _TEXT},
            {"do": "share", "flag": "cta_color", "rule": "half", "share": "50%"},
        ],
        "expected": [{"section": "flags", "key": "new_checkout", "revision": 2}],
        "reason": "launch",
    },
    "preview": {
        "steps": [{"do": "promote", "from": "staging", "section": "flags", "key": "new_checkout"}]
    },
    "validate": {"steps": [{**_PUT, "text": _TEXT}]},
    "merge": {**_ITEM, "text": _TEXT, "opened": 2},
    "decide": {"context": {"key": "u-42", "country": "DE"}},
    "explain": {"flag": "cta_color", "context": {"key": "u-42", "country": "DE"}},
    "create_environment": {"key": "staging"},
    "edit_environment": {"production": True},
    "create_key": {"kind": "admin", "name": "laptop", "role": "editor"},
    "invite": {"email": "ben@example.com", "name": "Ben", "roles": {"production": "editor"}},
    "edit_person": {"roles": {"*": "viewer"}},
    "events": {
        "events": [
            {"type": "event", "event": "sign_up", "unit": "u-42"},
            {"type": "exposure", "flag": "cta_color", "variant": "treatment", "unit": "u-42"},
        ]
    },
}
"""Operation -> a body that it takes."""

"""The OpenAPI 3.1 document, made of the handlers' own signatures, and a page to read it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, current_app

from flagloop_server.web.identity import public_url
from flagloop_server.web.openapi import reading
from flagloop_server.web.openapi.document import build

if TYPE_CHECKING:
    from flask import Flask
    from flask.typing import ResponseReturnValue

blueprint = Blueprint("openapi", __name__)

KEPT = "flagloop_openapi"


@blueprint.get("/api/openapi.json")
def openapi() -> Response:
    """The document; it holds nothing secret, so anybody may read it."""
    text = json.dumps(described(current_app), separators=(",", ":"))
    return Response(text, mimetype="application/json")


@blueprint.get("/docs/api")
def reference() -> ResponseReturnValue:
    """The document as a page."""
    from flagloop_server.web.pages import frame  # the pages are heavier than the document

    document = described(current_app)
    return frame.page(
        "api.html",
        description=document["info"]["description"],
        groups=reading.groups(document),
        types=reading.types(document),
        url=public_url(),
    )


def described(flask: Flask) -> dict[str, Any]:
    """The document of an application, made once."""
    if KEPT not in flask.extensions:
        flask.extensions[KEPT] = build(flask)
    found: dict[str, Any] = flask.extensions[KEPT]
    return found

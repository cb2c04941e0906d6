"""Every error as the caller can read it: JSON under /api/, else a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flask import Flask, Response, jsonify, make_response, request
from werkzeug.exceptions import HTTPException

from flagloop.document.problem import Problem
from flagloop.errors import (
    ConfigError,
    ConflictError,
    DocumentError,
    FlagloopError,
    ForbiddenError,
    NotFoundError,
)
from flagloop_server.auth import SignInError, TooManyAttemptsError
from flagloop_server.changes import MergeConflictError

CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "conflict",
    413: "too_large",
    422: "invalid_document",
    429: "too_many_requests",
    503: "unavailable",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong, before it is put into JSON or a page."""

    status: int
    message: str
    problems: Sequence[Problem] = ()
    conflicts: Sequence[Mapping[str, Any]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


def failure(error: Exception) -> Failure:
    """What to answer to `error`; one that is none of ours came from the database."""
    match error:
        case HTTPException():
            return http_failure(error)
        case TooManyAttemptsError():
            retry = str(max(1, round(error.retry_after)))
            return Failure(429, str(error), headers={"Retry-After": retry})
        case MergeConflictError():
            return Failure(409, str(error), conflicts=conflicts(error))
        case ConflictError():
            return Failure(409, str(error))
        case DocumentError():
            return Failure(422, str(error), problems=error.problems)
        case NotFoundError():
            return Failure(404, str(error))
        case ForbiddenError():
            return Failure(403, str(error))
        case ConfigError() | SignInError() | FlagloopError():
            return Failure(400, str(error))
        case _:
            return Failure(503, "the database is busy or full", headers={"Retry-After": "2"})


def http_failure(error: HTTPException) -> Failure:
    """The same for Flask's own errors."""
    headers = {"WWW-Authenticate": 'Bearer realm="flagloop"'} if error.code == 401 else {}
    return Failure(error.code or 500, error.description or error.name, headers=headers)


def conflicts(error: MergeConflictError) -> list[dict[str, Any]]:
    """Each item in conflict with its three texts."""
    return [
        {
            "section": item.section,
            "key": item.key,
            "base": item.base,
            "mine": item.mine,
            "theirs": item.theirs,
        }
        for item in error.items
    ]


def to_json(found: Failure) -> Response:
    """The JSON form that the CLI reads."""
    body: dict[str, Any] = {"code": CODES.get(found.status, "error"), "message": found.message}
    if found.problems:
        body["problems"] = [problem.to_mapping() for problem in found.problems]
    if found.conflicts:
        body["conflicts"] = found.conflicts
    return jsonify(error=body)


def handle(error: Exception) -> Response:
    """Answer `error`; a redirect that Flask raised passes as it is."""
    if isinstance(error, HTTPException) and error.code is not None and error.code < 400:
        return make_response(error.get_response())
    found = failure(error)
    if request.path.startswith("/api/"):
        response = to_json(found)
    else:
        from flagloop_server.web import pages

        title = CODES.get(found.status, "error").replace("_", " ").capitalize()
        page = pages.error_page(found.status, title, found.message, found.problems)
        response = make_response(page)
    return finish(response, found)


def plain(error: Exception) -> Response:
    """The answer to `error` as text, for when not even a page can be made."""
    found = failure(error)
    return finish(make_response(found.message, {"Content-Type": "text/plain"}), found)


def finish(response: Response, found: Failure) -> Response:
    """Give an answer its status and headers."""
    response.status_code = found.status
    response.headers.update(found.headers)
    return response


def register(app: Flask) -> None:
    """Make `app` answer errors so."""
    app.register_error_handler(HTTPException, handle)
    app.register_error_handler(FlagloopError, handle)

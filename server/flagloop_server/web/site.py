"""The Flask application: its blueprints, headers, errors and log lines."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from flask import Flask, Response, g, request

from flagloop_server.web import (
    admin_api,
    csrf,
    errors,
    flags_api,
    instances_api,
    items_api,
    openapi,
    pages,
    places_api,
    reports_api,
    sections_api,
)

if TYPE_CHECKING:
    from flagloop_server.app import Application

log = logging.getLogger(__name__)

POLICY = (
    "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'; object-src 'none'"
)


def create_site(app: Application) -> Flask:
    """Flask for `app`, with the admin API and the pages."""
    site = Flask("flagloop_server", static_folder=None)
    site.extensions["flagloop"] = app
    # The edge has read the body by then; for the test client the same limit holds here.
    site.config["MAX_CONTENT_LENGTH"] = app.config.body_limit
    site.config["MAX_FORM_MEMORY_SIZE"] = app.config.body_limit
    site.json.sort_keys = False  # type: ignore[attr-defined]
    site.before_request(begin)
    site.after_request(headers)
    csrf.register(site)
    errors.register(site)
    for module in (
        places_api,
        admin_api,
        flags_api,
        instances_api,
        items_api,
        reports_api,
        sections_api,
    ):
        site.register_blueprint(module.blueprint)
    site.register_blueprint(openapi.blueprint)
    pages.register(site)
    return site


def begin() -> None:
    """Note when the request began."""
    g.began = time.perf_counter()


def headers(response: Response) -> Response:
    """Strict headers unless the handler set its own; one log line for each change."""
    response.headers.setdefault("Content-Security-Policy", POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("X-Frame-Options", "DENY")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    if not request.path.startswith("/static/"):
        response.headers.setdefault("Cache-Control", "no-store")
    if request.method not in csrf.SAFE:
        # The rule, not the path: a setup link's token must not reach the log.
        place = request.url_rule.rule if request.url_rule is not None else "-"
        took = (time.perf_counter() - g.get("began", time.perf_counter())) * 1000
        log.info("%s %s status=%d ms=%.1f", request.method, place, response.status_code, took)
    return response

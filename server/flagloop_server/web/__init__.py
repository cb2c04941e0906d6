"""Thin Flask handlers: decode, one domain call, encode."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from flagloop_server.app import Application


def application() -> Application:
    """The application that serves this request."""
    from flask import current_app

    return cast("Application", current_app.extensions["flagloop"])

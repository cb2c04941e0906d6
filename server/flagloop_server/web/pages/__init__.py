"""The admin pages: server-rendered, each usable without JavaScript where a form suffices."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Flask
    from flask.typing import ResponseReturnValue

    from flagloop.document.problem import Problem


def register(flask: Flask) -> None:
    """Put the pages, their filters and their static files into the application."""
    from flagloop_server.web.pages import (
        access,
        archive,
        compare,
        editor,
        flags,
        frame,
        history,
        instances,
        live,
        places,
        playground,
        proposals,
        sections,
    )

    looking = (flags, instances, live, history, playground, compare)
    for module in (access, archive, proposals, editor, places, sections, *looking):
        assert module.__name__.startswith(__name__)  # imported for its routes
    frame.prepare(flask)
    flask.register_blueprint(frame.blueprint)


def error_page(
    status: int, title: str, message: str, problems: Sequence[Problem] = ()
) -> ResponseReturnValue:
    """What went wrong, in the frame of the pages, with `status`."""
    from flagloop_server.web.pages import frame

    return frame.error_page(status, title, message, problems)

"""What every page shares: who may see it, its headers, its frame around the content."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from flask import (
    Blueprint,
    Flask,
    Response,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response as BaseResponse

from flagloop.document.percent import format_percent
from flagloop_server.obedience import duration
from flagloop_server.store import EVERYWHERE, Environment, User, now_ms
from flagloop_server.web import application
from flagloop_server.web.identity import Identity, identity, require
from flagloop_server.web.pages import words
from flagloop_server.web.pages.difference import diff_lines
from flagloop_server.web.pages.direction import straight
from flagloop_server.web.pages.moments import field_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flagloop.document.problem import Problem
    from flagloop_server.auth import Action
    from flagloop_server.changes import Applied

blueprint = Blueprint(
    "pages",
    __name__,
    template_folder="../../templates",
    static_folder="../../static",
    static_url_path="/static",
)

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
ENVIRONMENT_COOKIE = "flagloop_environment"
THEME_COOKIE = "flagloop_theme"
NOTES_COOKIE = "flagloop_notes"
MOST_NOTES = 3
LONGEST_NOTE = 300
THEMES = ("auto", "light", "dark")
YEAR = 365 * 86_400
MOST = 2**53
OPEN_ENDPOINTS = {
    f"pages.{name}"
    for name in (
        "static",
        "glossary",
        "icon",
        "set_theme",
        "sign_in_page",
        "sign_in",
        "sign_in_link_page",
        "sign_in_by_link",
        "sign_out",
        "setup_page",
        "setup",
    )
}
"""What visitors who are not signed in may use."""


def prepare(flask: Flask) -> None:
    """Give the templates the words that they use."""
    flask.jinja_env.filters.update(
        ago=words.ago,
        iso=words.iso,
        stamp=words.stamp,
        thousands=words.thousands,
        compact=words.compact,
        percent=words.percent,
        value_text=words.value_text,
        duration=duration,
        moment=field_text,
        exact=format_percent,
    )
    flask.jinja_env.globals.update(
        GLOSSARY=words.GLOSSARY, diff_lines=diff_lines, plural=words.plural
    )
    flask.jinja_env.trim_blocks = True
    flask.jinja_env.lstrip_blocks = True


def person() -> User | None:
    """Who is signed in; keys are not good for pages."""
    who = identity()
    return who.user if who is not None else None


@blueprint.before_request
def ask_for_sign_in() -> ResponseReturnValue | None:
    """Send visitors who are not signed in to the sign-in page, and back afterwards."""
    endpoint = request.endpoint or ""
    if endpoint in OPEN_ENDPOINTS or person() is not None:
        return None
    wanted = request.full_path.rstrip("?") if request.method == "GET" else "/"
    return redirect(f"/login?next={quote(wanted, safe='/')}", 303)


@blueprint.after_request
def tighten(response: Response) -> Response:
    """Scripts, styles and forms of this server only; nothing inline, no frame around it."""
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Referrer-Policy", "same-origin")
    if request.endpoint != "pages.static":
        response.headers["Cache-Control"] = "no-store"
    return response


def own_address(text: str) -> str:
    """`text` when it is a path of this server, else the start page (no open redirect)."""
    plain = text.isprintable() and "\\" not in text
    return text if plain and text.startswith("/") and not text.startswith("//") else "/"


def whole(text: str) -> int:
    """A number of an address or a form; ValueError where SQLite could not hold it."""
    number = int(text)
    if abs(number) > MOST:
        raise ValueError(text)
    return number


def first_row(total: int) -> int:
    """The place of the row that the address begins at (`start`, from 1 on), among `total`."""
    asked = max(0, request.args.get("start", 1, type=whole) - 1)
    return min(asked, max(0, total - 1))


def theme() -> str:
    """The chosen theme: auto, light or dark."""
    chosen = request.cookies.get(THEME_COOKIE, "auto")
    return chosen if chosen in THEMES else "auto"


def visible(environments: Sequence[Environment], who: Identity) -> list[Environment]:
    """The environments that this person has a role in."""
    return [one for one in environments if who.may("view", one.key)]


def chosen_environment(environments: Sequence[Environment]) -> Environment | None:
    """The environment seen last, else production, else the first."""
    last = request.cookies.get(ENVIRONMENT_COOKIE)
    by_key = {one.key: one for one in environments}
    if last in by_key:
        return by_key[last]
    return next((one for one in environments if one.production), next(iter(environments), None))


def page(
    template: str, env: Environment | None = None, status: int = 200, **values: Any
) -> BaseResponse:
    """One page in its frame; `env` None shows the environment that was seen last."""
    who = identity()
    shown: list[Environment] = []
    if who is not None and who.user is not None:
        shown = visible(application().store.environments(), who)
    here = env or chosen_environment(shown)
    html = render_template(
        template,
        env=here,
        in_environment=env is not None,
        environments=shown,
        person=who.user if who is not None else None,
        may=_permissions(who, here),
        theme=theme(),
        now=now_ms(),
        here=request.full_path.rstrip("?") if request.method == "GET" else "/",
        **values,
    )
    response = make_response(straight(html), status)
    if env is not None and request.cookies.get(ENVIRONMENT_COOKIE) != env.key:
        remember(response, ENVIRONMENT_COOKIE, env.key)
    return response


def remember(response: BaseResponse, name: str, value: str) -> None:
    """Keep a choice of this browser for a year."""
    secure = application().config.secure_cookies or request.is_secure
    response.set_cookie(
        name, value, max_age=YEAR, httponly=True, samesite="Lax", secure=secure, path="/"
    )


def fragment(template: str, **values: Any) -> str:
    """A part of a page, without the frame."""
    return straight(render_template(template, now=now_ms(), **values))


def _permissions(who: Identity | None, env: Environment | None) -> dict[str, bool]:
    if who is None:
        return {}
    allowed = {"everywhere": who.may("admin", EVERYWHERE)}
    for action in ("view", "edit", "kill", "admin"):
        allowed[action] = env is not None and who.may(action, env.key)
    return allowed


def enter(action: Action, key: str) -> tuple[Environment, Identity]:
    """The environment and who asks; raises when it is unknown or the role does not allow."""
    who = require(action, key)
    return application().store.environment(key), who


def back_to_flag(environment: str, flag: str, applied: Applied) -> BaseResponse:
    """To a flag's page, with the confirmation of what was just done (if anything was)."""
    place = url_for("pages.flag_page", environment=environment, flag=flag)
    done = f"?done={applied.revision}" if applied.applied else ""
    response = redirect(place + done, 303)
    if applied.notes:
        # Not in the address: somebody else could write one that says something.
        text = quote(json.dumps([note[:LONGEST_NOTE] for note in applied.notes[:MOST_NOTES]]))
        secure = application().config.secure_cookies or request.is_secure
        response.set_cookie(
            NOTES_COOKIE, text, 60, httponly=True, samesite="Lax", secure=secure, path=place
        )
    return response


def take_notes() -> tuple[str, ...]:
    """The notes that `back_to_flag` sent along; `drop_notes` shows them only once."""
    try:
        notes = json.loads(unquote(request.cookies.get(NOTES_COOKIE, "[]")))
    except ValueError:
        return ()
    listed = notes if isinstance(notes, list) else []
    return tuple(note for note in listed[:MOST_NOTES] if isinstance(note, str))


def drop_notes(response: BaseResponse) -> BaseResponse:
    """The answer of a flag's page, which its notes do not outlive."""
    if NOTES_COOKIE in request.cookies:
        response.delete_cookie(NOTES_COOKIE, path=request.path, httponly=True, samesite="Lax")
    return response


def error_page(
    status: int, title: str, message: str, problems: Sequence[Problem] = ()
) -> ResponseReturnValue:
    """What went wrong, in the frame of the pages."""
    response = page("error.html", status=status, title=title, message=message, problems=problems)
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return response

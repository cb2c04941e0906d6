"""A form must come from our own page: its token is bound to the browser's cookie.

Requests of the API with an Authorization header need none: what they may do comes from the key
in it, not from a cookie. Pages take no key, so there the header excuses nothing.
"""

from __future__ import annotations

import secrets

from flask import Flask, Response, g, request
from markupsafe import Markup
from werkzeug.exceptions import BadRequest

from flagloop_server import auth
from flagloop_server.web import application
from flagloop_server.web.identity import SESSION_COOKIE

CSRF_COOKIE = "flagloop_csrf"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def register(app: Flask) -> None:
    """Check every unsafe request of `app` and give its templates the token."""
    app.before_request(check)
    app.after_request(remember)
    app.jinja_env.globals.update(csrf_token=csrf_token, csrf_field=csrf_field)


def secret() -> str:
    """What the token is bound to: the session, or before sign-in a random cookie."""
    found = request.cookies.get(SESSION_COOKIE) or request.cookies.get(CSRF_COOKIE)
    if found:
        return found
    if "csrf" not in g:
        g.csrf = secrets.token_urlsafe(32)
    made: str = g.csrf
    return made


def csrf_token() -> str:
    """The token for a form of this browser."""
    return auth.csrf_token(secret())


def csrf_field() -> Markup:
    """The hidden input for a form."""
    return Markup('<input type="hidden" name="csrf_token" value="{}">').format(csrf_token())


def check() -> None:
    """Raise BadRequest for an unsafe request of a browser without the right token."""
    if request.method in SAFE:
        return
    api = request.path.startswith("/api/")
    if api and "Authorization" in request.headers:
        return
    cookies = SESSION_COOKIE in request.cookies or CSRF_COOKIE in request.cookies
    if api and not cookies:
        return  # nobody's request: it will be refused for want of a key
    sent = request.headers.get("X-CSRF-Token") or request.form.get("csrf_token", "")
    if not cookies or not auth.check_csrf(secret(), sent):
        raise BadRequest("the form is out of date or came from elsewhere; reload the page")


def remember(response: Response) -> Response:
    """Send the random cookie when a page with a token was made before sign-in."""
    if "csrf" in g:
        response.set_cookie(
            CSRF_COOKIE,
            g.csrf,
            httponly=True,
            samesite="Lax",
            secure=application().config.secure_cookies or request.is_secure,
            path="/",
        )
    return response

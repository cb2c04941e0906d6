"""Sign in, sign out, the setup link; theme and glossary. Thin handlers."""

from __future__ import annotations

from typing import Any

from flask import Response, make_response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response as BaseResponse

from flagloop.errors import ConfigError, NotFoundError
from flagloop_server.auth import SHORTEST_PASSWORD, SignInError, TooManyAttemptsError
from flagloop_server.store import EVERYWHERE, Link
from flagloop_server.web import application
from flagloop_server.web.identity import SESSION_COOKIE, end_session, identity, start_session
from flagloop_server.web.pages.frame import (
    THEME_COOKIE,
    THEMES,
    blueprint,
    chosen_environment,
    own_address,
    page,
    person,
    remember,
    visible,
)


def _enter(token: str, address: str) -> Response:
    response = make_response(redirect(address, 303))
    start_session(response, token)
    return response


@blueprint.get("/")
def start() -> ResponseReturnValue:
    """To the flags of the environment seen last."""
    who = identity()
    assert who is not None
    here = chosen_environment(visible(application().store.environments(), who))
    if here is None:
        return redirect(url_for("pages.environment_list"), 303)
    return redirect(url_for("pages.flag_list", environment=here.key), 303)


@blueprint.get("/login")
def sign_in_page() -> ResponseReturnValue:
    """The sign-in form."""
    address = own_address(request.args.get("next", "/"))
    if person() is not None:
        return redirect(address, 303)
    return page("sign_in.html", next=address, email="")


@blueprint.post("/login")
def sign_in() -> ResponseReturnValue:
    """Check the password and start a session."""
    address = own_address(request.form.get("next", "/"))
    email = request.form.get("email", "")
    auth = application().auth
    try:
        session = auth.sign_in(email, request.form.get("password", ""), request.remote_addr or "")
    except TooManyAttemptsError as error:
        response = page("sign_in.html", status=429, next=address, email=email, wrong=str(error))
        response.headers["Retry-After"] = str(max(1, round(error.retry_after)))
        return response
    except SignInError as error:
        return page("sign_in.html", status=400, next=address, email=email, wrong=str(error))
    return _enter(session.token, address)


@blueprint.get("/sign-in/<token>")
def sign_in_link_page(token: str) -> ResponseReturnValue:
    """A one-time signed-in link (the demo prints one): one button.

    Looking does not use it up, since mail programs and chats look at links before people do.
    """
    link = application().auth.link(token, "sign_in")
    if link is None:
        return _sign_in_again("this link was used already or has expired")
    return page("sign_in_link.html", next=own_address(request.args.get("next", "/")))


@blueprint.post("/sign-in/<token>")
def sign_in_by_link(token: str) -> ResponseReturnValue:
    """Use the link up and start a session."""
    try:
        session = application().auth.use_sign_in_link(token)
    except SignInError as error:
        return _sign_in_again(str(error))
    return _enter(session.token, own_address(request.form.get("next", "/")))


def _sign_in_again(wrong: str) -> BaseResponse:
    return page("sign_in.html", status=400, next="/", email="", wrong=wrong)


@blueprint.post("/logout")
def sign_out() -> ResponseReturnValue:
    """End the session."""
    token = request.cookies.get(SESSION_COOKIE)
    if token:
        application().auth.sign_out(token)
    response = make_response(redirect(url_for("pages.sign_in_page"), 303))
    end_session(response)
    return response


@blueprint.get("/setup/<token>")
def setup_page(token: str) -> ResponseReturnValue:
    """Choose a password, once; the first admin also says who they are."""
    return _setup(_link(token))


@blueprint.post("/setup/<token>")
def setup(token: str) -> ResponseReturnValue:
    """Set the password and sign in."""
    link = _link(token)
    try:
        session = application().auth.complete_setup(
            token,
            password=request.form.get("password", ""),
            email=request.form.get("email", ""),
            name=request.form.get("name", ""),
        )
    except (ConfigError, SignInError) as error:
        return _setup(link, status=400, wrong=str(error))
    return _enter(session.token, "/")


def _link(token: str) -> Link:
    link = application().auth.link(token)
    if link is None:
        raise NotFoundError("this setup link was used or is out of date; ask for a new one")
    return link


def _setup(link: Link, **values: Any) -> BaseResponse:
    users = application().auth.users()
    return page(
        "setup.html",
        first=link.user_id is None,
        account=next((one.email for one in users if one.id == link.user_id), ""),
        minimum=SHORTEST_PASSWORD,
        email=request.form.get("email", ""),
        name=request.form.get("name", ""),
        **values,
    )


@blueprint.get("/account")
def account() -> ResponseReturnValue:
    """The person's own page: roles, and another password."""
    return _account(changed="changed" in request.args)


@blueprint.post("/account")
def change_password() -> ResponseReturnValue:
    """Change one's own password; every other session of the person ends."""
    who = identity()
    assert who is not None
    assert who.session is not None
    old, new = request.form.get("old", ""), request.form.get("new", "")
    try:
        session = application().auth.change_password(who.session, old, new)
    except TooManyAttemptsError as error:
        response = _account(status=429, wrong=str(error))
        response.headers["Retry-After"] = str(max(1, round(error.retry_after)))
        return response
    except (ConfigError, SignInError) as error:
        return _account(status=400, wrong=str(error))
    return _enter(session.token, url_for("pages.account", changed=1))


def _account(**values: Any) -> BaseResponse:
    return page("account.html", minimum=SHORTEST_PASSWORD, everywhere=EVERYWHERE, **values)


@blueprint.post("/theme")
def set_theme() -> ResponseReturnValue:
    """Light, dark, or as the system says."""
    chosen = request.form.get("theme", "auto")
    response = redirect(own_address(request.form.get("next", "/")), 303)
    remember(response, THEME_COOKIE, chosen if chosen in THEMES else "auto")
    return response


@blueprint.get("/glossary")
def glossary() -> ResponseReturnValue:
    """Every term in one line, and the keyboard."""
    return page("glossary.html")


@blueprint.get("/favicon.ico")
def icon() -> ResponseReturnValue:
    """Browsers ask for it whatever the page says."""
    return blueprint.send_static_file("favicon.svg")

"""A landing page whose sign-up button gets its colour from the flag `cta_color`.

    FLAGLOOP_URL=http://127.0.0.1:8377 FLAGLOOP_KEY=fl_srv_... python examples/landing_page/app.py

Two calls make the experiment: `client.value` decides the colour, `client.track` tells that a
visitor signed up. Who saw which colour is recorded by the first of them.
"""

from __future__ import annotations

import secrets

from flask import Flask, Response, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as BaseResponse

from flagloop import Client

COOKIE = "visitor"


def create_app(client: Client) -> Flask:
    """The application; `client` decides the colours and receives the sign-ups."""
    app = Flask(__name__)

    def color_for(visitor: str) -> str:
        user = {"key": visitor, "country": request.headers.get("X-Country", "unknown")}
        return str(client.value("cta_color", user, "blue"))

    @app.get("/")
    def landing() -> Response:
        visitor = request.cookies.get(COOKIE) or secrets.token_hex(8)
        response = make_response(render_template("landing.html", color=color_for(visitor)))
        response.set_cookie(COOKIE, visitor, max_age=31_536_000, httponly=True, samesite="Lax")
        return response

    @app.get("/color")
    def color() -> dict[str, str]:
        """What an open page asks again and again, so that a kill is seen without a reload."""
        return {"color": color_for(request.cookies.get(COOKIE, ""))}

    @app.get("/follow.js")
    def follow() -> Response:
        return Response(render_template("follow.js"), mimetype="text/javascript")

    @app.post("/sign-up")
    def sign_up() -> BaseResponse:
        visitor = request.cookies.get(COOKIE)
        if visitor:
            client.track("sign_up", visitor)
        return redirect(url_for("welcome"), 303)

    @app.get("/welcome")
    def welcome() -> str:
        return render_template("welcome.html")

    @app.get("/style.css")
    def style() -> Response:
        return Response(render_template("style.css"), mimetype="text/css")

    return app


if __name__ == "__main__":
    with Client() as live:
        live.wait(5)
        create_app(live).run(port=8378)

"""The admin API as the commands use it; its errors become the exceptions of `errors.py`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any
from urllib.parse import quote

from flagloop.commands.output import item_name
from flagloop.document.problem import Problem
from flagloop.errors import (
    ConfigError,
    ConflictError,
    DocumentError,
    FlagloopError,
    ForbiddenError,
    NotFoundError,
    TransportError,
)
from flagloop.sync.transport import Answer, Transport, json_object, retry_after, status_text

ANSWER_LIMIT = 64 * 1024 * 1024
KEY_KINDS = {"fl_srv_": "a server key", "fl_cli_": "a client key", "fl_adm_": "an admin key"}


class ItemConflictError(ConflictError):
    """Conflicts with their texts: `items` has section, key, base, mine and theirs of each."""

    def __init__(self, message: str, items: list[dict[str, Any]]) -> None:
        self.items = items
        super().__init__(
            message,
            [item_name(str(one.get("section")), str(one.get("key") or "")) for one in items],
        )


class Admin:
    """One environment of a server; `env` None means the one that the key belongs to.

    Every method raises ConfigError, ForbiddenError, NotFoundError, ConflictError,
    DocumentError or TransportError.
    """

    def __init__(self, url: str | None, key: str | None, env: str | None = None) -> None:
        url, key = needed(url, key)
        kind = key_kind(key)
        if kind not in (None, "an admin key"):
            raise ConfigError(
                f"this needs an admin key, not {kind}; "
                "make one with 'flagloop keys create --kind admin'"
            )
        self._transport = Transport(url, key, timeout=(5.0, 30.0), total=60.0)
        self._key = key
        self._env = env

    @property
    def url(self) -> str:
        """The server's address."""
        return self._transport.url

    @cached_property
    def environment(self) -> str:
        """The environment, asked for once when it was left out."""
        if self._env:
            return self._env
        about = self._call("GET", "/whoami")
        if isinstance(about.get("environment"), str):
            return str(about["environment"])
        names = ", ".join(str(one) for one in about.get("environments") or []) or "none yet"
        raise ConfigError(f"this key is for every environment: say --env, one of {names}")

    def document(self, revision: int | None = None) -> dict[str, Any]:
        """environment, lineage, revision and text of the document."""
        query = "" if revision is None else f"?revision={revision}"
        answer = self._call("GET", f"{self._place}/document{query}")
        if not isinstance(answer.get("text"), str):
            raise TransportError(f"{self.url} sent a document without text")
        return answer

    def push(self, body: Mapping[str, Any], file: str) -> dict[str, Any]:
        """Merge a file: environment, revision, applied, taken, kept, archived, removed, ignored,
        undoes, problems. Raises ItemConflictError, and DocumentError with places in `file`.
        """
        return self._call("POST", f"{self._place}/push", body, file)

    def kill(self, flag: str, reason: str) -> dict[str, Any]:
        """Kill a flag: environment, revision, changed."""
        return self._call("POST", f"{self._flag(flag)}/kill", {"reason": reason})

    def restore(self, flag: str, reason: str) -> dict[str, Any]:
        """Undo a kill: environment, revision, changed."""
        return self._call("POST", f"{self._flag(flag)}/restore", {"reason": reason})

    def share(
        self, flag: str, rule: str, percent: str, reason: str, *, force: bool = False
    ) -> dict[str, Any]:
        """Set a rule's share, "25%": environment, revision, changed.

        `force` also disturbs a running experiment, which is refused otherwise.
        """
        path = f"{self._flag(flag)}/rules/{quote(rule, safe='')}/share"
        body = {"share": percent, "reason": reason}
        return self._call("POST", path, {**body, "force": True} if force else body)

    def obedience(self, revision: int, seconds: float) -> dict[str, Any]:
        """Who has a revision: sentence, complete, settled, instances, reached, seconds, missing.

        TransportError when the server says nothing for so many `seconds`.
        """
        place = f"{self._place}/revisions/{revision}/instances"
        short = Transport(self.url, self._key, timeout=(seconds, seconds), total=seconds)
        try:
            answer = self._call("GET", place, transport=short)
        finally:
            short.close()
        if not isinstance(answer.get("sentence"), str):
            raise TransportError(f"{self.url} sent no word about who obeys")
        return answer

    @property
    def _place(self) -> str:
        return f"/environments/{quote(self.environment, safe='')}"

    def _flag(self, flag: str) -> str:
        return f"{self._place}/flags/{quote(flag, safe='')}"

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        file: str = "",
        transport: Transport | None = None,
    ) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode("ascii")
        headers = {} if data is None else {"Content-Type": "application/json"}
        answer = (transport or self._transport).exchange(
            method, "/api/v1/admin" + path, data=data, headers=headers, limit=ANSWER_LIMIT
        )
        if 200 <= answer.status < 300:
            return json_object(answer.body, self.url)
        raise error_of(answer, self.url, file)


def needed(url: str | None, key: str | None) -> tuple[str, str]:
    """Both, or ConfigError that names the option and the variable."""
    if not url:
        raise ConfigError("which server? say --url or set FLAGLOOP_URL")
    if not key:
        raise ConfigError("with which key? set FLAGLOOP_KEY or say --key")
    return url, key


def key_kind(key: str) -> str | None:
    """What sort of key this is, by its prefix; None when it has none that we know."""
    return KEY_KINDS.get(key.strip()[:7])


def error_of(answer: Answer, url: str, file: str = "") -> FlagloopError:
    """The exception for an answer that is no success."""
    said = _said(answer.body)
    message = str(said.get("message") or f"{url}: {status_text(answer)}")
    problems = [_problem(one) for one in _mappings(said, "problems")]
    match answer.status:
        case 401:
            return ForbiddenError(f"{url}: key revoked or unknown, or no admin key (401)")
        case 403:
            return ForbiddenError(f"{url}: {message}")
        case 404 if said:
            return NotFoundError(message)
        case 409:
            return ItemConflictError(message, _mappings(said, "conflicts"))
        case 422 if problems:
            return DocumentError(problems, file)
        case 400 | 413 | 422:
            return FlagloopError(message)
        case status:
            seconds = retry_after(answer.headers)
            wait = "" if seconds is None else f"; try again in {seconds:g} s"
            if said:
                message = f"{url}: {message} ({status})"
            return TransportError(message + wait, status, seconds)


def _said(body: bytes) -> dict[str, Any]:
    """The `error` mapping of an answer, empty without one."""
    try:
        error = json.loads(body)["error"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}
    return error if isinstance(error, dict) else {}


def _mappings(mapping: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of mappings in an answer, whatever else may stand there left out."""
    listed = mapping.get(name)
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _problem(mapping: Mapping[str, Any]) -> Problem:
    """A problem from its JSON form, whose path is text already."""
    line, hint = mapping.get("line"), mapping.get("hint")
    path = mapping.get("path")
    return Problem(
        str(mapping.get("message") or "no message"),
        (str(path),) if path else (),
        line if isinstance(line, int) else None,
        str(hint) if hint else None,
        "warning" if mapping.get("severity") == "warning" else "error",
    )


def warnings_of(answer: Mapping[str, Any]) -> list[Problem]:
    """The problems of an answer that succeeded."""
    return [_problem(one) for one in _mappings(answer, "problems")]

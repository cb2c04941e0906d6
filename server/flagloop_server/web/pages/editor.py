"""The YAML editor of a flag, for an existing one and for a new one. Thin handlers."""

from __future__ import annotations

from dataclasses import dataclass

from flask import request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response

from flagloop.errors import ConflictError, DocumentError, NotFoundError
from flagloop_server import changes as change
from flagloop_server.itemtext import key_of
from flagloop_server.store import Environment, StoredDocument
from flagloop_server.web import application
from flagloop_server.web.pages.frame import back_to_flag, blueprint, enter, page, whole
from flagloop_server.web.pages.proposals import Proposal, propose, reason, text_of

NEW_FLAG = """\
new_flag:
  description: What this flag is for
  owner: team@example.com
  variants: {control: blue, treatment: green}
  default: control
  off: control
  rules: []
"""


@dataclass(frozen=True, slots=True)
class Edited:
    """What the editor sent: `flag` empty for a new one, `opened` the flag's revision then."""

    flag: str
    text: str
    opened: int

    def key(self) -> str:
        """The flag's key; for a new one from its text, which raises DocumentError."""
        return self.flag or key_of("flags", self.text)


def _edited() -> Edited:
    text = request.form.get("text", "").replace("\r\n", "\n")
    opened = request.form.get("opened", 0, type=whole)
    return Edited(request.form.get("flag", ""), text, opened)


def _put(env: Environment, edited: Edited) -> change.Change:
    return change.put_item(env.key, "flags", edited.key(), edited.text)


def _stored(environment: str, flag: str) -> StoredDocument:
    stored = application().store.document(environment)
    if ("flags", flag) not in stored.document.items:
        raise NotFoundError(f"no flag '{flag}' in {environment}")
    return stored


@blueprint.get("/environments/<environment>/new-flag")
def new_flag(environment: str) -> ResponseReturnValue:
    """The editor with a flag to begin with."""
    env, _ = enter("edit", environment)
    return page("edit.html", env, flag="", text=NEW_FLAG, opened=0)


@blueprint.get("/environments/<environment>/flags/<flag>/edit")
def edit_flag(environment: str, flag: str) -> ResponseReturnValue:
    """The flag's YAML in an editor."""
    env, _ = enter("edit", environment)
    stored = _stored(environment, flag)
    opened = stored.item_revisions.get(("flags", flag), 0)
    text = text_of(stored.document, "flags", flag)
    return page("edit.html", env, flag=flag, text=text, opened=opened)


@blueprint.post("/environments/<environment>/reports/edit")
def preview_edit(environment: str) -> ResponseReturnValue:
    """What the edited text would do."""
    env, _ = enter("edit", environment)
    edited = _edited()
    try:
        proposal = propose(env, _put(env, edited))
    except DocumentError as error:
        proposal = Proposal(problems=tuple(error.problems))
    return _editor(env, edited, proposal=proposal)


@blueprint.post("/environments/<environment>/edit")
def save_edit(environment: str) -> ResponseReturnValue:
    """Save the edited text, unless somebody else changed the flag since it was opened."""
    env, who = enter("edit", environment)
    edited = _edited()
    try:
        planned = _put(env, edited)
        expected = {("flags", edited.key()): edited.opened}  # 0: there must be none yet
        applied = application().changes.apply(planned, who.actor, reason(), expected=expected)
    except DocumentError as error:
        return _editor(env, edited, status=422, refused=error.problems)
    except ConflictError as error:
        return _conflict(env, edited, str(error))
    return back_to_flag(environment, edited.key(), applied)


def _conflict(env: Environment, edited: Edited, message: str) -> Response:
    store = application().store
    key = edited.key()
    now = store.document(env.key)
    then = store.document(env.key, edited.opened) if edited.opened else None
    # A new flag stays new: sent again as it is, it must not replace the one that has the key.
    opened = now.item_revisions.get(("flags", key), 0) if edited.flag else 0
    return _editor(
        env,
        Edited(edited.flag, edited.text, opened),
        status=409,
        conflict=message,
        opened_text=text_of(then.document, "flags", key) if then is not None else None,
        current_text=text_of(now.document, "flags", key),
    )


def _editor(env: Environment, edited: Edited, status: int = 200, **values: object) -> Response:
    return page(
        "edit.html",
        env,
        status,
        flag=edited.flag,
        text=edited.text,
        opened=edited.opened,
        **values,
    )

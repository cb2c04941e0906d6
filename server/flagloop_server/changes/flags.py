"""Operating a flag: kill and restore, share and stage, pause and resume, archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from flagloop.document import yamledit
from flagloop.document.percent import format_percent, parse_percent
from flagloop.document.yamlfile import DocumentText
from flagloop.errors import ConfigError, NotFoundError
from flagloop_server.changes.change import (
    Change,
    Draft,
    Scene,
    find_rule,
    refuse,
    replace_rule,
)
from flagloop_server.changes.several import together
from flagloop_server.store import Ref


def kill(env: str, flag: str) -> Change:
    """Serve `off` to everyone: one line `killed: {reason, by, at}`. Needs a reason."""

    def draft(scene: Scene) -> Draft:
        mapping = scene.item("flags", flag).mapping
        if mapping.get("killed"):
            return Draft(scene.document, (f"'{flag}' is killed already",))
        at = datetime.fromtimestamp(scene.at // 1000, UTC).isoformat().replace("+00:00", "Z")
        killed = {"reason": scene.reason, "by": scene.actor.name, "at": at}
        return rewrite(scene, ("flags", flag), {**mapping, "killed": killed})

    return Change(env, "kill", flag, draft, urgent=True, needs_reason=True)


def restore(env: str, flag: str) -> Change:
    """Undo a kill: the line goes, the text is what it was."""

    def draft(scene: Scene) -> Draft:
        item = scene.item("flags", flag)
        if "killed" not in item.mapping:
            return Draft(scene.document, (f"'{flag}' is not killed",))
        before = _before_kill(scene, flag, item.text)
        if before is not None:
            return Draft(before)
        alive = {word: value for word, value in item.mapping.items() if word != "killed"}
        return rewrite(scene, ("flags", flag), alive)

    return Change(env, "restore", flag, draft, urgent=True)


def set_share(env: str, flag: str, rule: str, percent: str) -> Change:
    """Give a rule another share; of a rollout rule, set the stage. `percent` is like `25%`."""

    def draft(scene: Scene) -> Draft:
        old = find_rule(scene.stored, flag, rule)
        text = _percent(percent, flag, rule)
        new, before = _with_share(old, text)
        details = {"before": before, "after": text}
        if parse_percent(before) == parse_percent(text):
            return Draft(scene.document, (f"'{rule}' is at {text} already",), details=details)
        mapping = replace_rule(scene.item("flags", flag).mapping, rule, new)
        return rewrite(scene, ("flags", flag), mapping, details)

    return Change(env, "share", f"{flag}/{rule}", draft)


def pause(env: str, flag: str, rule: str) -> Change:
    """Hold a rollout at its stage."""
    return _set_paused(env, flag, rule, paused=True)


def resume(env: str, flag: str, rule: str) -> Change:
    """Let a paused rollout go on."""
    return _set_paused(env, flag, rule, paused=False)


def archive_flag(env: str, flag: str) -> Change:
    """Take a flag out of the document; its text goes to the archive, its key stays reserved."""

    def draft(scene: Scene) -> Draft:
        scene.item("flags", flag)
        return Draft(yamledit.remove_item(scene.document, "flags", flag).document)

    return Change(env, "archive", flag, draft)


def archive_flags(env: str, flags: Sequence[str]) -> Change:
    """Archive several flags at once, as one revision; none of them where one cannot go.

    They may require each other.
    """
    keys = list(dict.fromkeys(flags))
    if not keys:
        raise ConfigError("name the flags that are to be archived")
    return together(env, "archive", [archive_flag(env, key) for key in keys])


def unarchive_flag(env: str, flag: str) -> Change:
    """Bring an archived flag back with the text it had."""

    def draft(scene: Scene) -> Draft:
        archived = scene.library.archived_flag(env, flag)
        if archived is None:
            raise NotFoundError(f"no archived flag '{flag}' in {env}")
        edit = yamledit.put_item_text(scene.document, "flags", flag, archived.text)
        return Draft(edit.document, unarchived=(flag,))

    return Change(env, "unarchive", flag, draft)


def rewrite(
    scene: Scene, ref: Ref, mapping: Mapping[str, Any], details: Mapping[str, Any] | None = None
) -> Draft:
    """A draft with one item's mapping replaced; says so when its layout could not be kept."""
    edit = yamledit.replace_item(scene.document, *ref, dict(mapping))
    notes = (f"{ref[0]}.{ref[1]} was laid out anew",) if edit.reformatted else ()
    return Draft(edit.document, notes, details=details or {})


def _before_kill(scene: Scene, flag: str, text: str) -> DocumentText | None:
    """The document with the flag's exact text of before the kill.

    None if the flag was changed since it was killed. If nothing at all was, it is the whole text
    of before, since a kill may have to lay out more than its flag (a section in flow style).
    """
    env = scene.stored.environment
    number = scene.stored.item_revisions.get(("flags", flag))
    if number is None or scene.library.revision(env, number).action != "kill":
        return None
    killed = scene.library.document(env, number).document
    if killed is scene.document or killed.text == scene.document.text:
        return scene.library.document(env, number - 1).document
    for version in scene.library.item_versions(env, number):
        if (version.section, version.key, version.after) == ("flags", flag, text):
            edit = yamledit.put_item_text(scene.document, "flags", flag, version.before or "")
            return edit.document
    return None


def _percent(text: str, flag: str, rule: str) -> str:
    try:
        return format_percent(parse_percent(text))
    except ValueError as error:
        raise refuse(str(error), ("flags", flag, "rules", rule, "share")) from None


def _with_share(rule: Mapping[str, Any], text: str) -> tuple[dict[str, Any], str]:
    """The rule at another share, and the share before."""
    rollout = rule.get("rollout")
    if isinstance(rollout, dict):
        return {**rule, "rollout": {**rollout, "stage": text}}, rollout.get("stage", "0%")
    return {**rule, "share": text}, rule.get("share", "100%")


def _set_paused(env: str, flag: str, rule: str, *, paused: bool) -> Change:
    def draft(scene: Scene) -> Draft:
        old = find_rule(scene.stored, flag, rule)
        rollout = old.get("rollout")
        if not isinstance(rollout, dict):
            raise refuse(f"rule '{rule}' has no rollout to pause", ("flags", flag, "rules", rule))
        if bool(rollout.get("paused")) == paused:
            state = "paused" if paused else "running"
            return Draft(scene.document, (f"'{rule}' is {state} already",))
        new = {word: value for word, value in rollout.items() if word != "paused"}
        if paused:
            new["paused"] = True
        mapping = replace_rule(scene.item("flags", flag).mapping, rule, {**old, "rollout": new})
        return rewrite(scene, ("flags", flag), mapping)

    action = "pause" if paused else "resume"
    return Change(env, action, f"{flag}/{rule}", draft, urgent=True)

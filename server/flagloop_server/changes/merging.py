"""Changes that bring texts together: push, revert, promote."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from flagloop.document import yamledit
from flagloop.document.merge import Merge, merge
from flagloop.document.problem import Path, Problem, path_text
from flagloop.document.schema import (
    references,
    runtime_words,
    runtime_words_for,
    with_runtime,
    without_runtime,
)
from flagloop.document.yamlfile import DocumentText, parse
from flagloop.errors import NotFoundError
from flagloop_server.changes.change import Change, Draft, Scene, find_item
from flagloop_server.changes.items import check_environment
from flagloop_server.store import Ref, RevisionRow


def push(
    env: str, text: str | bytes, *, base: str | bytes | int | None = None, state: bool = False
) -> Change:
    """Merge a file by item with what the server has.

    `base` is what the file was made from: a text, a revision, or None where nobody knows. Then
    it is what the same actor pushed last without one, so that the same file again is nothing
    new, whoever pushed since. Before its first it is the last push of anybody, and `undoes` in
    the details lists what others changed and the push takes back or writes over.
    Runtime words of existing items are left alone unless `state`. Conflicts refuse the whole.
    """

    def find(scene: Scene) -> _Base:
        return _own_base(scene, guess=True) if base is None else _Base(_given(scene, base))

    return Change(env, "push", "document", lambda scene: _pushed(scene, env, text, find, state))


def deploy(env: str, text: str | bytes) -> Change:
    """Merge a file that is sent again and again, changed or not, by an actor of its own.

    As a push without base, but an actor's first one changes no item that others wrote: what
    differs is a conflict.
    """

    def find(scene: Scene) -> _Base:
        return _own_base(scene, guess=False)

    return Change(env, "push", "document", lambda scene: _pushed(scene, env, text, find))


def revert(env: str, revision: int, *, state: bool = False) -> Change:
    """The whole document of a past revision, as a new one.

    Runtime words (killed, stage, paused, status) stay as they are now, and the notes say which,
    unless `state`. Flags that did not exist then are archived, archived ones come back.
    """

    def draft(scene: Scene) -> Draft:
        past = scene.library.document(env, revision).document
        document, notes = past, []
        for ref in past.items:
            now = scene.document.items.get(ref)
            if now is None or state:
                continue
            document, kept = _with_words(document, ref, now.mapping)
            notes += [_kept(ref, path) for path in kept]
        back = [key for section, key in past.items if section == "flags"]
        return Draft(document, tuple(notes), unarchived=_archived(scene, back))

    return Change(env, "revert", f"revision {revision}", draft)


def revert_item(env: str, section: str, key: str, revision: int, *, state: bool = False) -> Change:
    """One item as of a past revision; where it did not exist then, it is archived or removed.

    Runtime words stay as they are now, and the notes say which, unless `state`.
    """
    ref = (section, key)

    def draft(scene: Scene) -> Draft:
        past = scene.library.document(env, revision).document.items.get(ref)
        now = scene.document.items.get(ref)
        if past is None:
            if now is None:
                raise NotFoundError(f"no {section}.{key} in {env}, neither now nor in {revision}")
            return Draft(yamledit.remove_item(scene.document, section, key).document)
        document = yamledit.put_item_text(scene.document, section, key, past.text).document
        notes: list[str] = []
        if now is not None and not state:
            document, kept = _with_words(document, ref, now.mapping)
            notes = [_kept(ref, path) for path in kept]
        back = _archived(scene, [key]) if section == "flags" else ()
        return Draft(document, tuple(notes), unarchived=back)

    target = key if section == "flags" else f"{section}.{key}"
    return Change(env, "revert", target, draft)


def promote(env_from: str, env_to: str, section: str, key: str) -> Change:
    """Copy an item's text to another environment, without runtime words.

    The target keeps its own runtime words. Items that it refers to and that the target lacks
    are named in the notes (and refuse the change).
    """
    ref = (section, key)

    def draft(scene: Scene) -> Draft:
        source = scene.library.document(env_from)
        text = _plain_text(source.document, ref, find_item(source, section, key).mapping)
        now = scene.document.items.get(ref)
        document = yamledit.put_item_text(scene.document, section, key, text).document
        if now is not None:
            document, _ = _with_words(document, ref, now.mapping)
        missing = references(section, document.items[ref].mapping) - set(document.items)
        notes = tuple(f"{env_to} has no {where}.{name} yet" for where, name in sorted(missing))
        return Draft(document, notes, details={"from": source.name})

    target = key if section == "flags" else f"{section}.{key}"
    return Change(env_to, "promote", target, draft)


class _Base(NamedTuple):
    """What a file is merged against; `source` is whose own base it is to become.

    `known` is a text that is in the environment's history, `guess` says that the file may be
    older than the base.
    """

    document: DocumentText | None
    source: str | None = None
    known: DocumentText | None = None
    guess: bool = False


def _given(scene: Scene, base: str | bytes | int) -> DocumentText:
    if isinstance(base, int):
        return scene.library.document(scene.stored.environment, base).document
    return parse(base)


def _own_base(scene: Scene, *, guess: bool) -> _Base:
    env, source = scene.stored.environment, f"{scene.actor.kind} {scene.actor.name}"
    own = scene.library.own_base(env, source)
    pushed = scene.library.push_base(env)
    if own is None and guess:
        return _Base(pushed, source, guess=True)
    # somebody pushed the file by hand, and then the server moved on
    return _Base(own, source, known=pushed)


def _pushed(
    scene: Scene,
    env: str,
    text: str | bytes,
    find: Callable[[Scene], _Base],
    state: bool = False,
) -> Draft:
    mine = parse(text)
    check_environment(mine, env)
    # nobody wrote here yet: the file goes in byte for byte, whatever it was made from
    untouched = scene.stored.revision == 1
    base = find(scene)
    against = scene.document if untouched else base.document
    merged = merge(against, mine, scene.document, state=state, known=base.known)
    document = mine if untouched else merged.document
    undone = _undone(scene, merged) if base.guess and not untouched else []
    return Draft(
        document,
        tuple(_ignored(*one) for one in merged.ignored),
        merge=merged,
        pushed=mine,
        source=base.source,
        details={"undoes": undone} if undone else {},
        locate=_first_in(mine, document),
    )


def _undone(scene: Scene, merged: Merge) -> list[dict[str, Any]]:
    """What a merge makes of items whose present text is somebody else's."""
    undone = []
    rows: dict[int, RevisionRow] = {}
    for section, key in (*merged.taken, *merged.removed):
        number = scene.stored.item_revisions.get((section, key))
        if (section, key) not in scene.document.items or number is None:
            continue
        row = rows.get(number)
        if row is None:  # often one revision wrote them all, and its row names each of them
            row = rows[number] = scene.library.revision(scene.stored.environment, number)
        if row.actor != scene.actor:
            said = {"revision": number, "actor": row.actor.name, "action": row.action}
            undone.append({"section": section, "key": key, **said})
    return undone


def _with_words(document: DocumentText, ref: Ref, now: Any) -> tuple[DocumentText, list[Path]]:
    """The document with the runtime words of `now` in one item, and which were put or taken."""
    mapping = document.items[ref].mapping
    had = runtime_words(ref[0], mapping)
    wanted = with_runtime(ref[0], mapping, runtime_words_for(ref[0], mapping, now))
    got = runtime_words(ref[0], wanted)
    differ = [path for path in {**had, **got} if had.get(path) != got.get(path)]
    if not differ:
        return document, []
    return yamledit.replace_item(document, *ref, wanted).document, differ


def _plain_text(document: DocumentText, ref: Ref, mapping: Any) -> str:
    """An item's text without its runtime words."""
    if not runtime_words(ref[0], mapping):
        return document.items[ref].text
    plain = yamledit.replace_item(document, *ref, without_runtime(ref[0], mapping))
    return plain.document.items[ref].text


def _archived(scene: Scene, keys: Iterable[str]) -> tuple[str, ...]:
    wanted = [key for key in keys if ("flags", key) not in scene.document.items]
    return tuple(scene.library.reserved(scene.stored.environment, wanted))


def _kept(ref: Ref, path: Path) -> str:
    return f"{path_text((*ref, *path))} stays as it is now"


def _ignored(section: str, key: str, path: Path, mine: Any, theirs: Any) -> str:
    return (
        f"{path_text((section, key, *path))} stays {_shown(theirs)}, the file says {_shown(mine)}"
    )


def _shown(value: Any) -> str:
    return "absent" if value is None else f"{value!r}" if isinstance(value, str) else f"{value}"


def _first_in(
    mine: DocumentText, merged: DocumentText
) -> Callable[[Iterable[Problem]], list[Problem]]:
    """Lines of the pushed file; problems of items that it does not have get no line."""

    def locate(problems: Iterable[Problem]) -> list[Problem]:
        def known(problem: Problem) -> bool:
            path = tuple(str(part) for part in problem.path[:2])
            return path in mine.items or path not in merged.items

        return [
            located
            for problem in problems
            for located in (mine.locate([problem]) if known(problem) else [problem])
        ]

    return locate

"""Editing items and the whole text."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from itertools import takewhile
from typing import Any

from flagloop.document import yamledit
from flagloop.document.problem import Problem
from flagloop.document.yamlfile import DocumentText, parse
from flagloop.errors import ConfigError, ConflictError
from flagloop_server.changes.change import Change, Draft, Scene, refuse
from flagloop_server.changes.flags import archive_flag, rewrite
from flagloop_server.changes.several import together
from flagloop_server.store import Ref


def put_item(env: str, section: str, key: str, text: str) -> Change:
    """Write an item's YAML text as it is, with its comments; the item may be new.

    Problems have lines of `text` where they lie in it.
    """

    def draft(scene: Scene) -> Draft:
        edit = yamledit.put_item_text(scene.document, section, key, text)
        return Draft(edit.document, locate=_in_items(edit.document, [(section, key)]))

    return Change(env, "edit", _target(section, key), draft)


def put_items(env: str, texts: Mapping[Ref, str | None]) -> Change:
    """Write several items' YAML texts as one revision; None archives a flag, removes another.

    Problems have lines of the item's own text where they lie in one.
    """
    if not texts:
        raise ConfigError("name at least one item")
    parts = [
        remove_item(env, *ref) if text is None else put_item(env, *ref, text)
        for ref, text in texts.items()
    ]
    written = [ref for ref, text in texts.items() if text is not None]
    change = together(env, "edit", parts)

    def draft(scene: Scene) -> Draft:
        made = change.draft(scene)
        return replace(made, locate=_in_items(made.document, written))

    return replace(change, draft=draft)


def add_item(env: str, section: str, key: str, mapping: Mapping[str, Any]) -> Change:
    """A new item from its mapping form; ConflictError if the key is taken."""

    def draft(scene: Scene) -> Draft:
        if not key:
            raise refuse(f"a new item of {section} needs a key", (section,))
        if (section, key) in scene.document.items:
            name = _target(section, key)
            raise ConflictError(f"{name} exists already in {env}", [name])
        edit = yamledit.add_item(scene.document, section, key, dict(mapping))
        return Draft(edit.document)

    return Change(env, "add", _target(section, key), draft)


def replace_item(env: str, section: str, key: str, mapping: Mapping[str, Any]) -> Change:
    """Another meaning for an existing item; the text changes only where the meaning does."""

    def draft(scene: Scene) -> Draft:
        scene.item(section, key)
        return rewrite(scene, (section, key), mapping)

    return Change(env, "edit", _target(section, key), draft)


def remove_item(env: str, section: str, key: str) -> Change:
    """Take an item out (refused while something refers to it); a flag is archived."""
    if section == "flags":
        return archive_flag(env, key)

    def draft(scene: Scene) -> Draft:
        scene.item(section, key)
        return Draft(yamledit.remove_item(scene.document, section, key).document)

    return Change(env, "remove", _target(section, key), draft)


def put_document(env: str, text: str | bytes) -> Change:
    """Replace the whole text as it is; flags that are missing in it are archived."""

    def draft(scene: Scene) -> Draft:
        document = parse(text)
        check_environment(document, env)
        return Draft(document)

    return Change(env, "edit", "document", draft)


def check_environment(document: DocumentText, env: str) -> None:
    """Raises DocumentError if the text says that it is for another environment."""
    named = document.mapping.get("environment")
    if named is not None and named != env:
        problem = refuse(
            f"this document is for environment '{named}', not '{env}'",
            ("environment",),
            f"use that environment, or write 'environment: {env}'",
        )
        problem.problems[:] = document.locate(problem.problems)
        raise problem


def _target(section: str, key: str) -> str:
    return key if section == "flags" else f"{section}.{key}"


def _in_items(
    document: DocumentText, refs: Collection[Ref]
) -> Callable[[Iterable[Problem]], list[Problem]]:
    """Lines counted from the first line of the item that a problem is in; none elsewhere."""

    def locate(problems: Iterable[Problem]) -> list[Problem]:
        return [_in_item(document, refs, problem) for problem in document.locate(problems)]

    return locate


def _in_item(document: DocumentText, refs: Collection[Ref], problem: Problem) -> Problem:
    ref = tuple(str(part) for part in problem.path[:2])
    if ref not in refs or ref not in document.items or problem.line is None:
        return problem.at(None)
    above = takewhile(lambda chunk: (chunk.section, chunk.key) != ref, document.chunks)
    return problem.at(problem.line - sum(chunk.text.count("\n") for chunk in above))

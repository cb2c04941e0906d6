"""Text that attacks whoever shows it, in every field that takes text."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import scene as stage

from flagloop_server import changes as change
from flagloop_server.instances import introduced
from flagloop_server.store import Actor
from flagloop_server.store.events import decode_batch

if TYPE_CHECKING:
    from scene import Scene

OVERRIDE = "\u202e"
"""Lets all that follows on the line run from right to left."""


def evil(field: str) -> str:
    """Of at most 100 characters, for a field that takes no more."""
    made = "<x-evil></x-evil><img src=x onerror=ran=1><script>ran=1</script>"
    return f"evil-{field}\"'>{made}{{{{7191*7}}}}"


def worse(field: str) -> str:
    """The same with all else that is known to do harm."""
    return (
        f"{evil(field)}</textarea></title><svg onload=ran=1>"
        f"<a href='javascript:ran=1'>javascript:ran=1</a>${{7191*7}}{OVERRIDE}" + "W" * 150
    )


def quoted(field: str) -> str:
    """For a YAML text."""
    return json.dumps(worse(field))


def name(field: str) -> str:
    """A name in YAML, of an attribute or an event."""
    return json.dumps(evil(field))


def document() -> str:
    """The flags of the scene, with such text wherever a key is not wanted."""
    return f"""\
# comment: {worse("head-comment")}
version: 1

recording: {{attributes: [country, plan, {name("recorded")}]}}

segments:
  staff:
    when: {{{name("segment-attribute")}: {{ends_with: {quoted("segment-constant")}}}}}

layers:
  landing_page: {{unit: {name("layer-unit")}}}

holdouts:
  growth_2026: {{share: 2%}}

metrics:
  sign_up: {{event: {name("event")}, better: higher}}
  errors: {{event: error, better: lower}}
  slow: {{event: view, exceeds: {{property: {name("property")}, limit: 800}}, better: lower}}

experiments:
  cta_color_2026:
    hypothesis: {quoted("hypothesis")}
    owner: {quoted("experiment-owner")}
    primary: sign_up

flags:
  # {worse("flag-comment")}
  cta_color:
    description: {quoted("description")}
    owner: {quoted("owner")}
    tags: [{quoted("tag")}, marketing]
    variants: {{control: blue, treatment: {quoted("value")}}}
    default: control
    off: control
    holdout: growth_2026
    log: [{name("logged")}]
    rules:
      - {{name: staff, when: {{segment: staff}}, serve: treatment}}  # {worse("rule-comment")}
      - {{name: colour-test, experiment: cta_color_2026, split: {{control: 50%, treatment: 50%}}}}

  new_checkout:
    unit: {name("unit")}
    rules:
      - {{name: beta, when: {{{name("attribute")}: [{quoted("constant")}, team]}}, serve: on}}
      - {{name: canary, share: 5%, serve: on}}

  new_ranker:
    variants: {{current: {{{name("member")}: {quoted("inner")}}}, candidate: {{}}}}
    default: current
    off: current
    requires: {{new_checkout: on}}
    rules:
      - name: canary
        rollout: {{to: candidate, stages: [1%, 5%, 100%], guardrails: [errors], stage: 5%}}

  old_banner:
    owner: {quoted("old-owner")}
    expires: 2026-01-31
    rules:
      - {{name: everyone, serve: on}}

  search_limits:
    killed: {{reason: {quoted("killed")}, by: {quoted("killer")}, at: 2026-01-31T10:00:00Z}}
"""


def spoil(scene: Scene) -> None:
    """Put it into a filled server: document, reasons, people, keys, and what processes report."""
    app = scene.app
    someone = Actor("person", worse("actor"))
    apply = app.changes.apply
    apply(change.put_document("production", document()), someone, worse("reason"))
    apply(change.kill("production", "old_banner"), someone, worse("kill-reason"))
    app.auth.create_user("evil@example.com", evil("person"), {"*": "viewer"}, scene.actor)
    _, secret = app.store.create_key("production", "admin", evil("key"), scene.actor, role="editor")
    assert secret
    report(scene)


def report(scene: Scene) -> None:
    """What a process that lies sends: contexts, events, counts and losses."""
    env = scene.app.store.environment("production")
    now = time.time_ns() // 1_000_000
    context = {"key": evil("unit-key"), evil("context-name"): worse("context-value")}
    lost = [{"reason": evil("lost"), "flag": evil("lost-flag"), "n": 3}]
    count = {"variant": evil("count-variant"), "rule": evil("count-rule"), "reason": "STATIC"}
    batch: dict[str, Any] = {
        "batch": str(uuid.uuid4()),
        "sent": now,
        "sdk": evil("batch-sdk"),
        "instance": {"id": evil("instance"), "host": evil("batch-host"), "pid": 1},
        "revision": scene.app.store.document("production").name,
        "lost": lost,
        "counts": [
            {"flag": flag, "minute": now // 60_000, "n": 5, **count}
            for flag in ("cta_color", "new_checkout", evil("count-flag"))
        ],
        "contexts": [
            context,
            {**context, "country": "DE", evil("recorded"): evil("recorded-value")},
        ],
        "events": [stage.event(evil("sent-event"), evil("event-unit"), now)],
    }
    raw = json.dumps(batch).encode()
    scene.app.events.submit(env.id, None, now, decode_batch(raw)).result(10)
    said = f"evil-i; host={evil('host')}; pid=66; sdk={evil('sdk')}".replace(";</", "</").encode()
    known = scene.app.instances
    known.polled(env.id, 1, said, evil("told-revision").encode())
    who = introduced(said)
    assert who is not None
    known.delivered(env.id, 1, who, env.name, {evil("lost"): 3})
    known.settle()

"""What `Client.status()` says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flagloop.evaluation.ruleset import Ruleset
    from flagloop.events.delivery import Delivery
    from flagloop.sync.refresh import Refresh
    from flagloop.sync.source import Snapshot

LONG_WAIT = 2.0
"""Seconds after which a first request without an answer is a problem."""


def health(
    snapshot: Snapshot | None,
    ruleset: Ruleset,
    refresh: Refresh,
    delivery: Delivery | None,
    failures: Mapping[str, int],
    *,
    now: float,
    overridden: bool = False,
) -> dict[str, Any]:
    """One JSON mapping; `now` is epoch seconds.

    ready (there are definitions), origin (of those in force: server, cache, file, document),
    revision, environment, age (seconds since the source last confirmed them; of a copy on disk:
    since the server sent it), flags (how many), broken (problems of flags that cannot be
    decided), overridden (a test's `override` decides), problem (the first thing that is wrong,
    None when all is well), refresh, delivery (None for a client that reports nothing) and
    failures (errors caught by a verb, by type).
    """
    fresh = refresh.state()
    broken = [problem.to_mapping() for problem in ruleset.problems()]
    sent = delivery.status() if delivery is not None else None
    return {
        "ready": snapshot is not None or overridden,
        "origin": snapshot.origin if snapshot is not None else None,
        "revision": snapshot.revision if snapshot is not None else None,
        "environment": snapshot.environment if snapshot is not None else None,
        "age": _age(snapshot, fresh["age"], now),
        "flags": len(ruleset.names()),
        "broken": broken,
        "overridden": overridden,
        "problem": _problem(fresh, broken, sent, failures)
        or (None if snapshot is not None or overridden else "definitions: none yet"),
        "refresh": fresh,
        "delivery": sent,
        "failures": dict(failures),
    }


def _age(snapshot: Snapshot | None, confirmed: float | None, now: float) -> float | None:
    if snapshot is None or snapshot.origin == "document":
        return None if snapshot is None else 0.0
    if confirmed is not None:
        return confirmed
    return max(0.0, now - snapshot.at)


def _problem(
    fresh: Mapping[str, Any],
    broken: list[dict[str, Any]],
    sent: Mapping[str, Any] | None,
    failures: Mapping[str, int],
) -> str | None:
    if fresh["error"]:
        return f"definitions: {fresh['error']}"
    if (fresh["waiting"] or 0) >= LONG_WAIT:
        told = f"no answer yet from {fresh['source']}, asking for {fresh['waiting']:.0f} s"
        return f"definitions: {told}"
    for part, text in fresh["notes"].items():
        return f"{part}: {text}"
    if broken:
        hint = f" ({broken[0]['hint']})" if broken[0]["hint"] else ""
        return f"{broken[0]['path']}: {broken[0]['message']}{hint}"
    if sent is not None and sent["last_error"]:
        return f"events: {sent['last_error']}"
    if sent is not None and sent["lost"]:
        reasons = ", ".join(f"{n} {reason}" for reason, n in sent["lost"].items())
        last = f" ({sent['invalid']})" if sent["invalid"] else ""
        return f"events were lost: {reasons}{last}"
    if sent is not None and sent["lost_rows"]:
        lost = ", ".join(f"{n} {kind}" for kind, n in sent["lost_rows"].items())
        return f"the server never got what was reported: {lost}"
    if sent is not None and sent["spool"] and sent["spool"]["problem"]:
        return f"spool: {sent['spool']['problem']}"
    for name, n in failures.items():
        return f"{n} {name} while deciding, tracking or telling of a change"
    return None

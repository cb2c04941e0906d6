"""Counts: every evaluation is reported once, whoever made it and whatever came in between."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagloop import Client, Decision
from flagloop.testing import MemorySink, document, flag

HALVES = [{"name": "halves", "split": {"a": "50%", "b": "50%"}}]
DOCUMENT = document(
    {"holdouts": {"growth": {"share": "20%"}}},
    static=flag({"a": 1}),
    split=flag({"a": 1, "b": 2}, rules=HALVES),
    held=flag({"a": 1, "b": 2}, holdout="growth", rules=HALVES),
    gone=flag({"a": 1}, killed=True),
    broken=flag({"a": 1}, rules=[{"name": "bad", "when": {"segment": "no"}, "serve": "a"}]),
)


def row(decision: Decision) -> tuple[Any, ...]:
    """The row in which a decision is counted."""
    reason = decision.reason.value
    if decision.error is not None:
        reason = decision.error.value
    elif decision.missing_unit:
        reason = "MISSING_UNIT"
    return (decision.flag, decision.variant, decision.rule, reason)


calls = st.tuples(
    st.sampled_from(["decide", "peek", "variant", "value", "decide_all", "explain", "swap"]),
    st.sampled_from(["static", "split", "held", "gone", "broken", "nowhere"]),
    st.integers(1, 12),
)


@given(st.lists(calls, max_size=40))
def test_counts_are_the_calls(steps: list[tuple[str, str, int]]) -> None:
    """Every evaluation but those of `explain`, also across changes of the definitions."""
    sink = MemorySink()
    client = Client.from_document(DOCUMENT, events=sink)
    wanted: Counter[tuple[Any, ...]] = Counter()
    for verb, name, user in steps:
        if verb == "swap":
            client.override({**DOCUMENT})
        elif verb == "decide_all":
            wanted.update(row(one) for one in client.decide_all(user).values())
        elif verb == "explain":
            client.explain(name, user)
        elif verb == "value":
            client.value(name, user, None)
            wanted[row(client.explain(name, user).decision)] += 1
        else:
            getattr(client, verb)(name, user)
            wanted[row(client.explain(name, user).decision)] += 1
    assert client.close(60)
    found: Counter[tuple[Any, ...]] = Counter()
    for one in sink.counts:
        found[one["flag"], one["variant"], one["rule"], one["reason"]] += one["n"]
    assert found == wanted


@pytest.mark.parametrize("verb", ["variant", "peek", "decide_all"])
def test_counts_are_exact_under_threads_and_changes(
    make: Callable[..., Client], counted: Any, verb: str
) -> None:
    """Four threads evaluate while definitions come and go fifteen times and counts are sent."""
    client = make(DOCUMENT)
    barrier = threading.Barrier(5)
    done = threading.Event()
    made: list[int] = []

    def work() -> None:
        barrier.wait(60)
        n = 0
        while not done.is_set():
            n += 1
            if verb == "decide_all":
                client.decide_all(f"u-{n}")
            else:
                getattr(client, verb)("split", f"u-{n % 500}")
        made.append(n)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    barrier.wait(60)
    for _ in range(15):
        undo = client.override({**DOCUMENT})
        client.flush(60)
        undo()
    done.set()
    for thread in threads:
        thread.join(60)
    total = dict.fromkeys(DOCUMENT["flags"], 0)
    for (name, *_), n in counted(client).items():
        total[name] += n
    asked = DOCUMENT["flags"] if verb == "decide_all" else {"split"}
    assert total == {name: sum(made) if name in asked else 0 for name in total}


def test_counts_of_unknown_flags_stay_exact(make: Callable[..., Client], counted: Any) -> None:
    """An application that makes up names cannot fill memory, and no evaluation is lost."""
    client = make(DOCUMENT)
    for n in range(2500):
        client.variant(f"made-up-{n}", "u-1")
    client.variant(3, "u-1")  # type: ignore[arg-type]
    found = counted(client)
    assert sum(found.values()) == 2501
    assert len(found) < 1200
    assert {reason for *_, reason in found} == {"FLAG_NOT_FOUND"}


def test_a_missing_unit_is_counted_as_that(make: Callable[..., Client], counted: Any) -> None:
    """So a page can say that an application forgets the key."""
    client = make(DOCUMENT)
    client.variant("split", None)  # type: ignore[arg-type]
    client.variant("static", None)  # type: ignore[arg-type]
    assert counted(client) == {
        ("split", "a", None, "MISSING_UNIT"): 1,
        ("static", "a", None, "STATIC"): 1,
    }


def test_a_client_that_reports_nothing_has_nothing_to_flush() -> None:
    """No server, no sink: no worker, and nothing waits."""
    with Client.from_document(DOCUMENT) as client:
        client.variant("split", "u-1")
        client.track("click", "u-1")
        assert client.flush(0)
        assert client.status()["delivery"] is None
        assert client.close(0)

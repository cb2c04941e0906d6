"""The client as a whole: how it is made, how definitions change, what it says, how it ends."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagloop import Client, ConfigError, DocumentError
from flagloop import client as module
from flagloop.document.schema import FLAG_WORDS, SECTIONS
from flagloop.testing import MemorySink, document, flag

WORDS = [*FLAG_WORDS, "name", "when", "serve", "split", "share", "rollout", "on", "off"]
GOOD = """\
version: 1
environment: staging
flags:
  color:
    variants: {control: blue, treatment: green}
    default: control
  other: {}
"""
GREEN = GOOD.replace("default: control", "default: treatment")
BAD = GOOD.replace("variants", "varients")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A good flag file."""
    path = tmp_path / "flags.yaml"
    path.write_text(GOOD)
    return path


def replace(file: Path, text: str) -> None:
    """Write as editors do: nobody ever sees half of it."""
    part = file.with_suffix(".part")
    part.write_text(text)
    part.replace(file)


@pytest.fixture
def from_file(file: Path) -> Iterator[Callable[..., Client]]:
    """A client of the file that looks at it all the time."""
    made: list[Client] = []

    def make(**options: Any) -> Client:
        made.append(Client.from_file(file, **{"interval": 0.01, **options}))
        return made[-1]

    yield make
    for client in made:
        client.close(5)


# How it is made.


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, "url=.*FLAGLOOP_URL"),
        ({"url": "http://127.0.0.1:9"}, "key=.*FLAGLOOP_KEY"),
        ({"key": "fl_srv_x"}, "url=.*FLAGLOOP_URL"),
        ({"url": "nowhere", "key": "fl_srv_x"}, "like https://"),
        ({"url": 8377, "key": "fl_srv_x"}, "url and key are texts"),
        ({"url": "http://127.0.0.1:9", "key": "fl_srv_x", "cache": ""}, "cache must be a folder"),
        ({"url": "http://127.0.0.1:9", "key": "fl_srv_x", "cache": 3}, "cache must be a folder"),
    ],
)
def test_what_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], names: str
) -> None:
    """The argument and the variable that would give it."""
    monkeypatch.delenv("FLAGLOOP_URL", raising=False)
    monkeypatch.delenv("FLAGLOOP_KEY", raising=False)
    with pytest.raises(ConfigError, match=names):
        Client(**given)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"intervall": 5}, "no option 'intervall' .did you mean 'interval'"),
        ({"cahce": "x"}, "no option 'cahce'"),
        ({"interval": 0}, "interval must be seconds, more than 0"),
        ({"interval": float("nan")}, "interval must be seconds"),
        ({"interval": "10s"}, "interval must be seconds"),
        ({"queue": 0}, "queue must be a whole number, 1 or more"),
        ({"exposures": "no"}, "exposures must be True or False"),
        ({"events": "http://x"}, "events must be a function"),
        ({"clock": 3.0}, "clock must be a function"),
        ({"key": "fl_srv_secret"}, "give its url, too"),
        ({"url": 3}, "url must be a text"),
        ({"url": "http://127.0.0.1:9"}, "the key is empty"),
    ],
)
def test_wrong_options_are_named(option: dict[str, Any], says: str) -> None:
    """A misspelt option is not ignored, a value of no use not kept; no message shows a value."""
    with pytest.raises(ConfigError, match=says) as caught:
        Client.from_document({"flags": {}}, **option)
    assert "secret" not in str(caught.value)


def test_none_stands_for_an_option_left_out() -> None:
    """So settings can be passed on as they are."""
    client = Client.from_document(document(), interval=None, queue=None, url=None)  # type: ignore[arg-type]
    assert client.status()["delivery"] is None


@pytest.mark.parametrize("mapping", [None, [], "flags.yaml", 3])
def test_a_document_is_a_mapping(mapping: Any) -> None:
    """A file's name where the document should be is a wrong argument."""
    with pytest.raises(ConfigError, match="a document is a mapping"):
        Client.from_document(mapping)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The path stands in the message."""
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: No such file"):
        Client.from_file(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("path", ["", None, 3, b"flags.yaml", "flags\0.yaml", []])
def test_a_path_is_a_name(path: Any) -> None:
    """What cannot name a file is a wrong argument, whatever the system says of it."""
    with pytest.raises(ConfigError, match="path is the name of a flag file"):
        Client.from_file(path)


def test_a_broken_file_raises_with_every_problem(file: Path) -> None:
    """At the start there is no last good one to go on with."""
    file.write_text(BAD + "  third: {defualt: on}\n")
    with pytest.raises(DocumentError) as caught:
        Client.from_file(file)
    assert f"{file}:5" in str(caught.value)
    assert f"{file}:8" in str(caught.value)


def test_a_broken_flag_of_a_document_leaves_the_others(client: Client) -> None:
    """A mapping is read leniently: its broken flag is named and the others decide."""
    (problem,) = client.status()["broken"]
    assert problem["path"] == "flags.broken.rules[0].when"
    assert client.variant("static", "u-1") == "control"


# How definitions change.


def test_a_changed_file_is_read_again(file: Path, from_file: Any, until: Any) -> None:
    """Without a restart."""
    client = from_file()
    assert client.value("color", "u-1", None) == "blue"
    revision = client.status()["revision"]
    replace(file, GREEN)
    until(lambda: client.value("color", "u-1", None) == "green")
    assert client.status()["revision"] != revision


def test_a_broken_file_keeps_the_last_good_one(file: Path, from_file: Any, until: Any) -> None:
    """`status()` says why with file and line, until it is mended."""
    client = from_file()
    replace(file, BAD)
    until(lambda: client.status()["problem"])
    assert client.value("color", "u-1", None) == "blue"
    status = client.status()
    assert f"{file}:5" in status["problem"]
    assert "did you mean 'variants'" in status["problem"]
    assert status["refresh"]["problems"][0]["line"] == 5
    assert status["ready"]
    replace(file, GREEN)
    until(lambda: client.value("color", "u-1", None) == "green")
    until(lambda: client.status()["problem"] is None)


def test_a_removed_file_keeps_the_last_good_one(file: Path, from_file: Any, until: Any) -> None:
    """An editor that replaces the file, or somebody who deletes it."""
    client = from_file()
    file.unlink()
    until(lambda: client.status()["problem"])
    assert "No such file" in client.status()["problem"]
    assert client.value("color", "u-1", None) == "blue"


def test_changed_flags_are_told(file: Path, from_file: Any) -> None:
    """Those that may decide otherwise, after the change is in force."""
    client = from_file()
    told: list[tuple[frozenset[str], Any]] = []
    came = threading.Event()

    def changed(flags: frozenset[str]) -> None:
        told.append((flags, client.value("color", "u-1", None)))
        came.set()

    client.on_change(changed)
    replace(file, GREEN)
    assert came.wait(60)
    assert told == [(frozenset({"color"}), "green")]


def test_a_callback_that_raises_harms_nobody(make: Callable[..., Client], mapping: Any) -> None:
    """The others are told, the new definitions are in force, `status()` counts it."""
    client = make(mapping)
    told: list[frozenset[str]] = []

    def fail(flags: frozenset[str]) -> None:
        raise LookupError("mine")

    client.on_change(fail)
    client.on_change(told.append)
    client.override(document(static=flag({"a": 1})))
    assert told == [frozenset(mapping["flags"])]
    assert client.variant("static", "u-1") == "a"
    assert client.status()["failures"] == {"LookupError": 1}


def test_a_callback_that_would_end_its_thread_does_not(
    file: Path, from_file: Any, until: Any
) -> None:
    """`sys.exit` on another thread than the first ends that thread alone: not this one."""
    client = from_file()
    client.on_change(lambda flags: sys.exit("restart"))
    for text, color in ((GREEN, "green"), (GOOD, "blue")):
        replace(file, text)
        until(lambda color=color: client.value("color", "u-1", None) == color)
    until(lambda: client.status()["failures"] == {"SystemExit": 2})


def test_telling_can_be_stopped(make: Callable[..., Client]) -> None:
    """Each registration by itself, also one of the same function, also from inside of one."""
    client = make(document())
    told: list[str] = []
    first = client.on_change(lambda flags: (told.append("first"), first()))  # type: ignore[func-returns-value]
    again = client.on_change(lambda flags: told.append("second"))
    for n in range(3):
        client.override(document(x=flag({f"v{n}": n})))
        if n == 1:
            again()
            again()
    assert told == ["first", "second", "second"]


def test_a_change_of_words_that_decide_nothing_is_not_told(make: Callable[..., Client]) -> None:
    """A description is no decision."""
    client = make(document(x=flag({"a": 1}, description="one")))
    told: list[frozenset[str]] = []
    client.on_change(told.append)
    client.override(document(x=flag({"a": 1}, description="two")))
    assert told == []


# Overrides.


def test_overrides_are_undone_in_any_order(make: Callable[..., Client]) -> None:
    """The latest that is left decides; undoing twice is undoing once."""
    client = make(document(x=flag({"source": 0})))
    first = client.override(document(x=flag({"first": 1})))
    second = client.override(document(x=flag({"second": 2})))
    assert client.variant("x", "u") == "second"
    assert client.status()["overridden"]
    first()
    assert client.variant("x", "u") == "second"
    second()
    second()
    assert client.variant("x", "u") == "source"
    assert not client.status()["overridden"]


def test_an_override_outlasts_what_the_source_says(file: Path, from_file: Any, until: Any) -> None:
    """The new file comes into force when the override goes."""
    client = from_file()
    revision = client.status()["revision"]
    undo = client.override(document(color=flag({"mine": "red"})))
    replace(file, GREEN)
    until(lambda: client.status()["revision"] != revision)
    assert client.value("color", "u", None) == "red"
    undo()
    assert client.value("color", "u", None) == "green"


# What it says.


def test_status_of_a_document(client: Client) -> None:
    """Every word that pages and alarms read, and only JSON."""
    import json

    status = client.status()
    assert json.loads(json.dumps(status)) == status
    assert set(status) == {
        "ready", "origin", "revision", "environment", "age", "flags", "broken", "overridden",
        "problem", "refresh", "delivery", "failures",
    }  # fmt: skip
    assert (status["ready"], status["origin"], status["age"]) == (True, "document", 0.0)
    assert status["flags"] == 16
    assert status["problem"].startswith("flags.broken.rules[0].when: unknown segment 'nobody'")


def test_status_of_a_file(from_file: Any, until: Any) -> None:
    """Which file, its environment, and how long ago it was looked at."""
    client = from_file()
    until(lambda: client.status()["refresh"]["age"] is not None)
    status = client.status()
    assert (status["origin"], status["environment"]) == ("file", "staging")
    assert 0 <= status["age"] < 60
    assert status["problem"] is None
    assert status["revision"].startswith("file-")


def test_wait_is_over_at_once_when_there_are_definitions(client: Client) -> None:
    """A document needs no waiting."""
    assert client.wait(0)


# How it ends.


def test_closing_delivers_and_deciding_goes_on(
    make: Callable[..., Client], mapping: Any, sink: MemorySink
) -> None:
    """What comes later is served but counted as lost."""
    client = make(mapping)
    client.variant("split", "u-1")
    client.track("click", "u-1")
    assert client.close(60)
    assert (len(sink.exposures), len(sink.events)) == (1, 1)
    assert client.variant("split", "u-2") is not None
    client.track("click", "u-2")
    assert client.close(60)
    assert len(sink.events) == 1
    assert client.status()["delivery"]["lost"] == {"closed": 2}


@pytest.mark.parametrize("seconds", [-0.5, float("-inf"), 1e12, float("inf")])
def test_any_time_limit_is_one(make: Callable[..., Client], mapping: Any, seconds: float) -> None:
    """What is left of a deadline may be negative, and who waits for ever says so by infinity."""
    client = make(mapping)
    client.track("click", "u-1")
    assert client.wait(seconds)
    assert client.flush(seconds) or seconds < 0
    assert client.close(seconds) or seconds < 0


def test_a_with_block_closes(mapping: Any, sink: MemorySink) -> None:
    """For scripts."""
    with Client.from_document(mapping, events=sink) as client:
        client.variant("split", "u-1")
    assert len(sink.exposures) == 1


def test_a_file_client_ends_its_thread(from_file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`close` waits for it; as long as it takes here, where a busy machine may need more time."""
    monkeypatch.setattr(module, "LINGER", 60.0)
    client = from_file()
    assert client.status()["refresh"]["running"]
    client.close(60)
    assert not client.status()["refresh"]["running"]
    assert client.value("color", "u-1", None) == "blue"


def test_a_forgotten_client_is_collected_and_its_thread_ends(file: Path) -> None:
    """Not even its own thread, which looks for changes, keeps it alive."""
    before = set(threading.enumerate())
    client = Client.from_file(file, interval=3600.0)
    client.on_change(lambda flags: None)
    assert client.value("color", "u-1", None) == "blue"
    (thread,) = set(threading.enumerate()) - before
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None
    thread.join(60)
    assert not thread.is_alive()


def test_a_forgotten_client_delivers_what_waits(mapping: Any, sink: MemorySink) -> None:
    """Its worker sends the rest and ends, without `close`."""
    before = set(threading.enumerate())
    client = Client.from_document(mapping, events=sink)
    for n in range(10):
        client.variant("split", f"u-{n}")
    (thread,) = set(threading.enumerate()) - before
    del client
    gc.collect()
    thread.join(60)
    assert not thread.is_alive()
    assert len(sink.exposures) == 10
    assert sum(one["n"] for one in sink.counts) == 10


@pytest.mark.parametrize(
    ("verb", "options"),
    [("peek", {}), ("decide_all", {}), ("variant", {"exposures": False})],
)
def test_counts_alone_start_the_worker(
    make: Callable[..., Client], mapping: Any, verb: str, options: dict[str, Any]
) -> None:
    """An application that makes no exposure is counted while it runs, not only at its end."""
    before = set(threading.enumerate())
    client = make(mapping, **options)
    if verb == "decide_all":
        client.decide_all("u-1")
    else:
        getattr(client, verb)("split", "u-1")
    assert [one.name for one in set(threading.enumerate()) - before] == ["flagloop-delivery"]


def test_a_flag_file_of_the_environment_is_not_a_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """FLAGLOOP_URL does not make a client of a document report anywhere."""
    monkeypatch.setenv("FLAGLOOP_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("FLAGLOOP_KEY", "fl_srv_x")
    assert Client.from_document(document()).status()["delivery"] is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_child_keeps_an_override(file: Path, from_file: Any) -> None:
    """A forked child decides by what was in force, override included, and can undo it."""
    client = from_file(interval=3600.0)
    undo = client.override(document(color=flag({"mine": "red"})))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        code = 2  # whatever happens, the child must not go on as a second test session
        try:
            signal.alarm(120)
            seen = [client.value("color", "u", None)]
            undo()
            seen.append(client.value("color", "u", None))
            code = 0 if seen == ["red", "blue"] else 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(SECTIONS), st.dictionaries(st.text(max_size=3), junk)))
def test_any_document_can_be_decided_by(sections: dict[str, Any]) -> None:
    """Sections full of nonsense: broken flags are errors for themselves, `status()` names them."""
    client = Client.from_document(sections, events=lambda batch: None)
    for name in sections.get("flags", {}):
        decision = client.decide(name, "u-1")
        assert decision.flag == name
        assert client.variant(name, "u-1", "mine")
    assert set(client.decide_all("u-1")) == set(sections.get("flags", {}))
    status = client.status()
    assert status["flags"] == len(sections.get("flags", {}))
    undo = client.override({})
    undo()
    assert client.close(60)

"""The edge as a whole."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any

import pytest

from flagloop_server.edge.front import Edge
from helpers.edges import KEYS, World, receipt


@pytest.fixture
def world() -> Iterable[World]:
    """A fresh edge."""
    made = World()
    yield made
    made.edge.close()


def bearer(name: str) -> list[tuple[str, str]]:
    """The header of a key."""
    return [("authorization", f"Bearer {name}")]


SERVER = bearer("fl_srv_production")
BATCH = json.dumps({"events": [{}, {}]}).encode()


def test_a_server_key_gets_the_rules_of_its_environment(world: World, call: Any) -> None:
    """The environment comes from the key, nothing else."""
    assert json.loads(call(world.edge, "GET", "/api/v1/ruleset", SERVER).body)["environment"] == (
        "production"
    )
    other = call(world.edge, "GET", "/api/v1/ruleset", bearer("fl_srv_development"))
    assert json.loads(other.body)["environment"] == "development"


def test_an_etag_of_another_environment_is_not_current(world: World, call: Any) -> None:
    """An SDK whose key was exchanged gets the other environment's rules, never a 304."""
    first = call(world.edge, "GET", "/api/v1/ruleset", SERVER)
    tag = [("if-none-match", first.headers["etag"])]
    assert call(world.edge, "GET", "/api/v1/ruleset", SERVER + tag).status == 304
    other = bearer("fl_srv_development")
    assert call(world.edge, "GET", "/api/v1/ruleset", other + tag).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 401),
        (bearer("fl_srv_wrong"), 401),
        ([("authorization", "Basic eDp5")], 401),
        (bearer("fl_cli_production"), 403),
        (bearer("fl_adm_production"), 403),
        (bearer("fl_srv_archived"), 404),
    ],
)
def test_without_a_good_server_key_there_are_no_rules(
    world: World, call: Any, headers: list[tuple[str, str]], status: int
) -> None:
    """The answer says why in JSON, and 401 names the scheme."""
    answer = call(world.edge, "GET", "/api/v1/ruleset", headers)
    assert answer.status == status
    assert json.loads(answer.body)["error"]["message"]
    assert ("www-authenticate" in answer.headers) is (status == 401)


def test_an_unknown_key_is_looked_up_once(world: World, call: Any) -> None:
    """A client with a wrong key does not keep the database busy; nor does one with a good key."""
    for _ in range(3):
        call(world.edge, "GET", "/api/v1/ruleset", bearer("fl_srv_wrong"))
        call(world.edge, "GET", "/api/v1/ruleset", SERVER)
    assert world.asked == 2


def test_other_methods_are_refused(world: World, call: Any) -> None:
    """405 names what is allowed."""
    answer = call(world.edge, "POST", "/api/v1/ruleset", SERVER)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert call(world.edge, "GET", "/api/v1/events", SERVER).headers["allow"] == "POST"


@pytest.mark.parametrize("kind", ["fl_srv_production", "fl_cli_production"])
def test_server_and_client_keys_may_post_events(world: World, call: Any, kind: str) -> None:
    """The batch reaches the log with the id of its key, parsed off the loop."""
    answer = call(world.edge, "POST", "/api/v1/events", bearer(kind), BATCH)
    assert json.loads(answer.body) == {"accepted": 2, "duplicate": 0, "rejected": []}
    assert world.memory.batches == [(KEYS[kind].id, {"events": [{}, {}]})]
    assert all(name.startswith("edge") for name in world.memory.threads)


def test_an_archived_environment_takes_no_events(world: World, call: Any) -> None:
    """Its keys stop to work: nobody would look at them."""
    answer = call(world.edge, "POST", "/api/v1/events", bearer("fl_srv_archived"), BATCH)
    assert (answer.status, world.memory.batches) == (404, [])


def test_packed_events_are_unpacked(world: World, call: Any) -> None:
    """SDKs pack what is over a kilobyte."""
    headers = [*SERVER, ("content-encoding", "gzip")]
    assert call(world.edge, "POST", "/api/v1/events", headers, gzip.compress(BATCH)).status == 200


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (SERVER, b"x" * 1001, 413),
        ([*SERVER, ("content-encoding", "gzip")], gzip.compress(b" " * 100_000), 413),
        ([*SERVER, ("content-encoding", "gzip")], b"no gzip", 400),
        (SERVER, b"no json", 400),
        (bearer("fl_adm_production"), BATCH, 403),
        ([], BATCH, 401),
    ],
    ids=["too large", "bomb", "no gzip", "no json", "admin key", "no key"],
)
def test_bad_batches_are_refused(
    world: World, call: Any, headers: list[tuple[str, str]], body: bytes, status: int
) -> None:
    """Each with its status; nothing of them reaches the log and nothing stays held."""
    assert call(world.edge, "POST", "/api/v1/events", headers, body).status == status
    assert world.memory.batches == []
    assert world.edge.waiting == 0


def test_a_slow_batch_is_refused(world: World, call: Any) -> None:
    """408 after the time for bodies."""
    answer = call(world.edge, "POST", "/api/v1/events", SERVER, b"{", ends=False)
    assert answer.status == 408
    assert answer.headers["connection"] == "close"


def test_batches_that_wait_are_bounded_by_key_and_in_sum(world: World, calling: Any) -> None:
    """One key may hold half of the places, all keys all of them; public ones their own share."""
    world.memory.hold = []

    async def post(key: str) -> Any:
        return await calling(world.edge, "POST", "/api/v1/events", bearer(key), BATCH)

    async def until(number: int) -> None:
        while len(world.memory.hold or ()) < number:
            await asyncio.sleep(0)

    async def run() -> list[tuple[str, int]]:
        keys = [
            "fl_srv_production", "fl_srv_production", "fl_srv_development", "fl_srv_development",
            "fl_cli_production",
        ]  # fmt: skip
        waiting, refused = [], []
        for number, key in enumerate(keys, 1):
            waiting.append(asyncio.ensure_future(post(key)))
            await until(number)
            if number in (2, 4, 5):
                answer = await post(key)
                assert answer.headers["retry-after"] == "2"
                refused.append((json.loads(answer.body)["error"]["message"], answer.status))
        for future in world.memory.hold or ():
            future.set_result(receipt(2))
        assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}
        return refused

    assert asyncio.run(run()) == [
        ("too many batches of this key wait", 429),
        ("too many batches wait", 429),
        ("too many batches of this key wait", 429),
    ]
    assert world.edge.waiting == 0


def test_a_long_answer_is_written_beside_the_loop(world: World, call: Any) -> None:
    """Nobody waits while the problems of thousands of events become text."""
    threads: set[str] = set()

    class Problem(dict[str, object]):
        def items(self) -> Any:
            threads.add(threading.current_thread().name)
            return super().items()

    def ingest(*_: object) -> Future[Mapping[str, object]]:
        future: Future[Mapping[str, object]] = Future()
        problems = [Problem(index=n, problem="is no UUID") for n in range(1_000)]
        future.set_result({"accepted": 0, "duplicate": 0, "rejected": problems})
        return future

    world.edge._intakes.server._ingest = ingest
    answer = call(world.edge, "POST", "/api/v1/events", SERVER, BATCH)
    assert len(json.loads(answer.body)["rejected"]) == 1_000
    assert threads
    assert all(name.startswith("edge-events") for name in threads)


def test_a_request_that_goes_away_does_not_cancel_the_commit(world: World, calling: Any) -> None:
    """The writer's future is shared: it must stay fit to be resolved."""
    world.memory.hold = []

    async def run() -> None:
        task = asyncio.ensure_future(calling(world.edge, "POST", "/api/v1/events", SERVER, BATCH))
        while not world.memory.hold:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    world.memory.hold[0].set_result(receipt(2))


def test_the_rest_goes_to_the_pages(world: World, call: Any) -> None:
    """Every other path is Flask's."""
    assert call(world.edge, "GET", "/production/flags").body == b"page"


def test_health_says_that_the_process_runs(world: World, call: Any) -> None:
    """/healthz needs nothing."""
    assert call(world.edge, "GET", "/healthz").status == 200


def test_readiness_names_what_is_wrong(world: World, call: Any) -> None:
    """503 with the problems; also while the server stops."""
    assert call(world.edge, "GET", "/readyz").status == 200
    world.health.problems = ["the disk is gone"]
    answer = call(world.edge, "GET", "/readyz")
    assert answer.status == 503
    assert json.loads(answer.body)["problems"] == ["the disk is gone"]
    world.health.problems = []
    world.edge.stop()
    assert call(world.edge, "GET", "/readyz").status == 503


def test_what_a_person_should_mend_leaves_the_server_ready(world: World, call: Any) -> None:
    """Where events cannot be written flags are still served: no reason to send nobody."""
    world.health.told = ["events are not written: the disk is full"]
    answer = call(world.edge, "GET", "/readyz")
    assert answer.status == 200
    assert json.loads(answer.body)["alerts"] == world.health.told


def test_answers_are_counted_by_route_and_status(world: World, call: Any) -> None:
    """What /metrics tells."""
    call(world.edge, "GET", "/api/v1/ruleset")
    call(world.edge, "GET", "/any")
    call(world.edge, "GET", "/metrics")
    assert world.edge.requests == {("ruleset", 401): 1, ("web", 200): 1, ("metrics", 200): 1}


def test_a_crowd_that_asks_for_metrics_asks_once_and_holds_up_no_key(
    world: World, calling: Any
) -> None:
    """Nobody needs a key for them: new keys are looked up all the same."""
    world.health.free.clear()

    async def run() -> None:
        crowd = [asyncio.ensure_future(calling(world.edge, "GET", "/metrics")) for _ in range(20)]
        answer = await calling(world.edge, "GET", "/api/v1/ruleset", SERVER)
        assert answer.status == 200
        crowd.pop().cancel()
        world.health.free.set()
        assert {(one.status, one.body) for one in await asyncio.gather(*crowd)} == {
            (200, b"up 1\n")
        }
        assert (await calling(world.edge, "GET", "/metrics")).status == 200

    asyncio.run(run())
    assert world.health.measured == 2


def test_metrics_that_are_cut_by_the_end_of_the_server_are_told(world: World, calling: Any) -> None:
    """503 instead of a traceback."""
    world.health.free.clear()

    async def run() -> Any:
        task = asyncio.ensure_future(calling(world.edge, "GET", "/metrics"))
        while not world.health.measured:
            await asyncio.sleep(0)
        world.edge.stop()
        task.cancel()
        answer = await task
        world.health.free.set()
        return answer

    assert asyncio.run(run()).status == 503


def test_the_use_of_a_key_is_noted(world: World, call: Any) -> None:
    """The time of last use, by key id."""
    call(world.edge, "GET", "/api/v1/ruleset", SERVER)
    assert list(world.edge.used) == [1]


def test_a_page_that_is_cut_by_the_end_of_the_server_is_told(calling: Any) -> None:
    """503 instead of a traceback when the server ends while a page is made."""
    release, inside, closed = threading.Event(), threading.Event(), threading.Event()

    class Body(list[bytes]):
        def close(self) -> None:
            closed.set()

    def stuck(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        inside.set()
        assert release.wait(60)
        start_response("200 OK", [])
        return Body()

    async def run(edge: Edge) -> int:
        task = asyncio.ensure_future(calling(edge, "GET", "/x"))
        await asyncio.to_thread(inside.wait, 10)
        edge.stop()
        task.cancel()
        answer = await task
        release.set()
        assert await asyncio.to_thread(closed.wait, 10)
        return int(answer.status)

    assert asyncio.run(run(World(stuck).edge)) == 503


@pytest.mark.parametrize("path", ["/login", "/api/v1/events"])
def test_a_body_that_never_ends_does_not_hold_the_end_of_the_server(
    world: World, calling: Any, path: str
) -> None:
    """503 when the server ends while a body is read; without its end a cancel stays a cancel."""

    async def run() -> Any:
        task = asyncio.ensure_future(calling(world.edge, "POST", path, SERVER, b"half", ends=False))
        for _ in range(100):
            await asyncio.sleep(0)
        task.cancel()
        return (await asyncio.gather(task, return_exceptions=True))[0]

    world.edge.keys.look_up(hashlib.sha256(b"fl_srv_production").digest())
    assert isinstance(asyncio.run(run()), asyncio.CancelledError)
    world.edge.stop()
    assert asyncio.run(run()).status == 503


SESSION = [("cookie", "session=good")]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 401),
        ([("cookie", "session=forged")], 401),
        (bearer("fl_adm_wrong"), 401),
        (bearer("fl_cli_production"), 401),
        ([*bearer("fl_adm_wrong"), *SESSION], 401),
        (bearer("fl_adm_production"), 200),
        (SESSION, 200),
    ],
    ids=["nothing", "forged", "wrong key", "public key", "key hides", "admin key", "session"],
)
def test_strangers_may_send_little(
    world: World, call: Any, headers: list[tuple[str, str]], status: int
) -> None:
    """What lets somebody in decides, not what they say; what is small passes for all.

    They learn that a key or a session is missing, not that the body is too large.
    """
    assert call(world.edge, "POST", "/x", headers, b"x" * 101).status == status
    assert call(world.edge, "POST", "/x", headers, b"x" * 100).status == 200


def test_bodies_of_strangers_do_not_keep_out_a_kill(world: World, calling: Any) -> None:
    """When theirs fill all that is kept for them, a session still posts and pages still open."""

    async def run() -> list[int]:
        stuck = [
            asyncio.ensure_future(
                calling(world.edge, "POST", "/login", [], [b"x" * 70], ends=False)
            )
            for _ in range(2)
        ]
        for _ in range(10):
            await asyncio.sleep(0)
        answers = [
            await calling(world.edge, "POST", "/login", [], b"x"),
            await calling(world.edge, "POST", "/kill", SESSION, b"reason=x"),
            await calling(world.edge, "GET", "/login"),
        ]
        for task in stuck:
            task.cancel()
        await asyncio.gather(*stuck, return_exceptions=True)
        return [answer.status for answer in answers]

    assert asyncio.run(run()) == [503, 200, 200]


def test_the_refusal_of_a_client_key_names_the_mend(world: World, call: Any) -> None:
    """Who took the wrong key from the list learns which one is right."""
    answer = call(world.edge, "GET", "/api/v1/ruleset", bearer("fl_cli_production"))
    assert "use a server key, fl_srv_..." in json.loads(answer.body)["error"]["message"]


def test_a_process_is_known_by_its_polls_streams_and_batches(world: World, call: Any) -> None:
    """What it says of itself reaches the list of instances; refused requests say nothing."""
    said = ("x-flagloop-instance", "i-1; host=web-1; pid=42")
    call(world.edge, "GET", "/api/v1/ruleset", [*bearer("fl_cli_production"), said])
    call(world.edge, "GET", "/api/v1/ruleset", SERVER)
    assert world.instances.all(1) == []
    known = ("if-none-match", '"line1.7"')
    assert call(world.edge, "HEAD", "/api/v1/ruleset", [*SERVER, said, known]).status == 304
    (one,) = world.instances.all(1)
    assert (one.place, one.revision, one.key) == ("web-1:42", "line1.7", 1)
    assert call(world.edge, "POST", "/api/v1/events", [*SERVER, said], BATCH).status == 200
    assert world.memory.said == said[1].encode()

"""The page of the instances, and what a flag's page says about who obeys."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flagloop_server import changes as change
from flagloop_server.app import Application
from flagloop_server.instances import RETURN
from flagloop_server.obedience import PATIENCE, look
from flagloop_server.store import Actor, now_ms

BEN = Actor("person", "ben@example.com")
FLAG = "/environments/production/flags/cta_color"
PAGE = "/environments/production/instances"


class Fleet:
    """Applications of the shop, by what they say; time stands still but for `ahead` (ms)."""

    def __init__(self, shop: Application, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shop = shop
        self.ahead = 0
        began = now_ms()
        monkeypatch.setattr(shop.instances, "_clock", lambda: began + self.ahead)
        monkeypatch.setattr(shop.store, "clock", lambda: began + self.ahead)
        monkeypatch.setattr("flagloop_server.obedience.now_ms", lambda: began + self.ahead)

    def tell(self, pid: int, number: int, *, stream: bool = False, host: str = "web-7") -> None:
        """A process says which revision it has."""
        env = self.shop.store.environment("production")
        said = f"i-{pid}; host={host}; pid={pid}; sdk=flagloop-python/1.2".encode()
        name = f"{env.lineage}.{number}"
        if stream:
            self.shop.instances.opened(env.id, 1, said, name.encode())
        else:
            self.shop.instances.polled(env.id, 1, said, f'"{name}"'.encode())
        self.shop.instances.settle()

    def kill(self) -> int:
        """Kill the flag; the revision."""
        self.shop.changes.apply(change.kill("production", "cta_color"), BEN, "INC-77")
        return self.now

    @property
    def now(self) -> int:
        """The present revision."""
        return self.shop.store.environment("production").revision


@pytest.fixture
def fleet(shop: Application, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """Nobody yet."""
    return Fleet(shop, monkeypatch)


def words(html: str) -> str:
    """The text of a page."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).replace(" ,", ",")


def test_silence_is_no_success(fleet: Fleet, visit: Any) -> None:
    """Nobody who killed a flag may take "nothing was heard" for "it is off everywhere"."""
    fleet.kill()
    assert "No instance is known that decides by this server" in visit("viewer").get(FLAG).text


def test_a_kill_says_where_it_is_off_and_who_is_missing(fleet: Fleet, visit: Any) -> None:
    """In the page itself, and in the part that is asked for again and again."""
    before = fleet.now
    for pid in (1, 2, 3):
        fleet.tell(pid, before)
    fleet.ahead = 1_000
    number = fleet.kill()
    viewer = visit("viewer")
    page = viewer.get(FLAG).text
    assert "Off on 0 of 3 instances; 3 not yet: web-7:1 (revision" in words(page)
    assert "data-live-soon" in page
    fleet.ahead = 1_300
    for pid in (1, 2):
        fleet.tell(pid, number)
    fleet.ahead = 1_300 + PATIENCE
    page = viewer.get(f"{FLAG}/live/state").text
    assert "Off on 2 of 3 instances in 0.3 s; 1 stale: web-7:3" in words(page)
    assert "data-live-soon" not in page
    assert f'href="{PAGE}"' in page


def test_a_restore_and_an_edit_say_so_too(fleet: Fleet, visit: Any) -> None:
    """A restore "restored", any other change "in force"."""
    fleet.kill()
    fleet.shop.changes.apply(change.restore("production", "cta_color"), BEN, "")
    fleet.tell(1, fleet.now)
    assert "Restored on 1 of 1 instance." in words(visit("viewer").get(FLAG).text)
    share = change.set_share("production", "cta_color", "half", "60%")
    fleet.shop.changes.apply(share, BEN, "")
    fleet.tell(1, fleet.now)
    assert "In force on 1 of 1 instance" in words(visit("editor").get(FLAG).text)


def test_a_killed_flag_that_was_edited_is_asked_for_its_kill(fleet: Fleet, visit: Any) -> None:
    """What matters is that it is off, not that its description is new."""
    killed = fleet.kill()
    fleet.tell(1, killed)
    share = change.set_share("production", "cta_color", "half", "60%")
    fleet.shop.changes.apply(share, BEN, "")
    assert "Off on 1 of 1 instance." in words(visit("viewer").get(FLAG).text)


def test_a_kill_by_an_edit_is_not_taken_for_an_earlier_one(fleet: Fleet, visit: Any) -> None:
    """Those who obeyed a kill that was restored since do not obey this one yet."""
    fleet.tell(1, fleet.kill())
    fleet.shop.changes.apply(change.restore("production", "cta_color"), BEN, "")
    text = fleet.shop.store.document("production").document.text
    killed = text.replace("  cta_color:\n", "  cta_color:\n    killed: true\n")
    fleet.shop.changes.apply(change.put_document("production", killed), BEN, "")
    assert "In force on 0 of 1 instance; 1 not yet" in words(visit("viewer").get(FLAG).text)


def test_a_kill_that_was_undone_since_says_so(fleet: Fleet) -> None:
    """Who still waits for it must not believe that the flag is off; unless it was killed again."""
    killed = fleet.kill()
    fleet.shop.changes.apply(change.restore("production", "cta_color"), BEN, "")
    fleet.tell(1, fleet.now)
    store, instances = fleet.shop.store, fleet.shop.instances
    assert look(store, instances, "production", killed).sentence() == (
        f"off on 1 of 1 instance; but revision {fleet.now} has undone it since"
    )
    fleet.kill()
    assert look(store, instances, "production", killed).sentence() == "off on 1 of 1 instance"


def test_the_list_begins_with_a_sentence_and_those_who_need_a_person(
    fleet: Fleet, visit: Any
) -> None:
    """State by word, then where it runs, what it has, how far behind, since when."""
    old = fleet.now
    for pid in (1, 2):
        fleet.tell(pid, old)
    fleet.tell(3, old, stream=True)
    number = fleet.kill()
    for pid in (1, 3):
        fleet.tell(pid, number)
    fleet.ahead = PATIENCE + 60_000
    page = visit("viewer").get(PAGE).text
    text = words(page)
    assert f"2 of 3 instances are on revision {number}; 1 stale." in text
    assert re.findall(r'data-instance="(\S+)"', page)[0] == "i-2"
    row = text.partition("Lost stale")[2].partition("up to date")[0]
    assert f"web-7:2 {old} 1 revision " in row
    assert row.endswith("polls flagloop-python/1.2 nothing ")
    assert text.count("up to date") == 2
    assert "stream, since" in text
    assert 'aria-current="page">Instances' in page


def test_after_a_restart_more_may_come_back(fleet: Fleet, visit: Any) -> None:
    """Until they did, the list says so, be it empty or not, and is asked for soon again."""
    place = fleet.shop.store.environment("production").id
    fleet.shop.instances.recall(place, [])
    fleet.ahead = 12_000
    viewer, said = visit("viewer"), "; this server started 12 s ago, so more may come back."
    for known in ("in the last 15 minutes", f"1 of 1 instance is on revision {fleet.now}"):
        page = viewer.get(PAGE).text
        assert f"{known}{said}" in words(page)
        assert "data-live-soon" in page
        assert "started" not in page.partition('data-announce="')[2].partition('"')[0]  # each time
        fleet.tell(1, fleet.now)
    fleet.ahead = RETURN
    assert "started" not in viewer.get(PAGE).text


def test_losses_are_told_by_reason(fleet: Fleet, visit: Any) -> None:
    """In words; what others write is escaped."""
    from flagloop_server.instances import Introduction

    env = fleet.shop.store.environment("production")
    who = Introduction("i-1", "<b>web</b>", 7, "sdk/1")
    fleet.shop.instances.delivered(env.id, 1, who, None, {"queue_full": 2_000, "closed": 1})
    page = visit("viewer").get(PAGE).text
    assert "1 closed, 2,000 queue full" in page
    assert "<b>web" not in page
    assert "no revision yet" in page


def test_without_instances_the_next_step_is_taught(fleet: Fleet, visit: Any) -> None:
    """With the real address; where keys are made is said to those who may."""
    page = visit("viewer").get(PAGE).text
    assert "No instance is known in" in page
    assert "export FLAGLOOP_URL=http" in page
    assert "under Keys" not in page
    assert "under Keys" in visit("admin").get(PAGE).text


def test_many_instances_come_in_pages(fleet: Fleet, visit: Any) -> None:
    """A hundred at once; a number beyond the last shows the last."""
    for pid in range(230):
        fleet.tell(pid, fleet.now)
    visitor = visit("viewer")
    first = visitor.get(PAGE).text
    assert first.count("data-instance=") == 100
    assert "start=101" in first
    last = visitor.get(f"{PAGE}?start=201").text
    assert last.count("data-instance=") == 30
    assert "start=101" in last
    assert visitor.get(f"{PAGE}/live?start=9999").text.count("data-instance=") == 1


@pytest.mark.parametrize("path", [PAGE, f"{PAGE}/live"])
def test_only_those_with_a_role_see_it(fleet: Fleet, visit: Any, path: str) -> None:
    """Hosts are nobody else's business."""
    assert visit("viewer").get(path).status_code == 200
    assert visit("viewer", "development").get(path).status_code == 403
    assert visit(None).get(path).status_code == 303

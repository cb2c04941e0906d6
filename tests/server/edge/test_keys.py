"""The key ring: what is known, refused, revoked and expired."""

from __future__ import annotations

import hashlib

from flagloop_server.edge.keys import EdgeKey, KeyRing


class Truth:
    """Where keys are looked up; counts the questions."""

    def __init__(self) -> None:
        self.keys: dict[bytes, EdgeKey] = {}
        self.asked = 0
        self.during = lambda: None

    def find(self, digest: bytes) -> EdgeKey | None:
        """One look-up."""
        self.asked += 1
        found = self.keys.get(digest)
        self.during()
        return found


DIGEST = hashlib.sha256(b"fl_srv_secret").digest()
KEY = EdgeKey(1, "server", 1)


def test_the_digest_is_that_of_the_bearer_token() -> None:
    """The scheme's case does not matter; other schemes and endless tokens are none."""
    ring = KeyRing(Truth().find, lambda: 0.0)
    assert ring.digest(b"Bearer fl_srv_secret") == DIGEST
    assert ring.digest(b"bearer  fl_srv_secret ") == DIGEST
    assert ring.digest(b"Basic fl_srv_secret") is None
    assert ring.digest(b"Bearer " + b"x" * 300) is None


def test_a_key_is_looked_up_once() -> None:
    """Found keys are known afterwards, without another question."""
    truth = Truth()
    truth.keys[DIGEST] = KEY
    ring = KeyRing(truth.find, lambda: 0.0)
    assert ring.known(DIGEST) is None
    assert ring.look_up(DIGEST) == KEY
    assert ring.known(DIGEST) == KEY
    assert truth.asked == 1


def test_a_wrong_key_is_refused_without_more_questions_until_the_next_refresh() -> None:
    """A refusal is remembered, and forgotten when something changed."""
    truth = Truth()
    ring = KeyRing(truth.find, lambda: 0.0)
    assert ring.look_up(DIGEST) is None
    assert ring.refused(DIGEST)
    ring.refresh()
    assert not ring.refused(DIGEST)
    truth.keys[DIGEST] = KEY
    assert ring.look_up(DIGEST) == KEY


def test_a_revoked_key_is_unknown_after_a_refresh() -> None:
    """A refresh asks again for every key in use."""
    truth = Truth()
    truth.keys[DIGEST] = KEY
    ring = KeyRing(truth.find, lambda: 0.0)
    ring.look_up(DIGEST)
    truth.keys.clear()
    ring.refresh()
    assert ring.known(DIGEST) is None
    assert ring.look_up(DIGEST) is None


def test_a_look_up_that_began_before_a_revocation_does_not_revive_the_key() -> None:
    """What was found before a refresh is not remembered after it."""
    truth = Truth()
    truth.keys[DIGEST] = KEY
    ring = KeyRing(truth.find, lambda: 0.0)

    def revoke() -> None:
        truth.during = lambda: None
        truth.keys.clear()
        ring.refresh()

    truth.during = revoke
    ring.look_up(DIGEST)
    assert ring.known(DIGEST) is None


def test_a_key_expires_by_the_clock() -> None:
    """At its end a key is refused without a question."""
    now = [10.0]
    truth = Truth()
    truth.keys[DIGEST] = EdgeKey(1, "server", 1, expires=20.0)
    ring = KeyRing(truth.find, lambda: now[0])
    assert ring.look_up(DIGEST) is not None
    now[0] = 20.0
    assert ring.known(DIGEST) is None
    assert ring.refused(DIGEST)
    assert ring.look_up(DIGEST) is None


def test_a_key_that_is_looked_up_during_a_refresh_stays_known() -> None:
    """A stream may have been opened with it: it must not be taken for revoked."""
    truth = Truth()
    other = hashlib.sha256(b"fl_srv_other").digest()
    truth.keys = {DIGEST: KEY, other: EdgeKey(2, "server", 1)}
    ring = KeyRing(truth.find, lambda: 0.0)
    ring.look_up(DIGEST)

    def meanwhile() -> None:
        truth.during = lambda: None
        ring.look_up(other)

    truth.during = meanwhile
    ring.refresh()
    assert (ring.known(DIGEST), ring.known(other)) == (KEY, truth.keys[other])


def test_a_refresh_during_a_look_up_makes_it_ask_again() -> None:
    """So that a key which is found is always one that is known."""
    truth = Truth()
    truth.keys[DIGEST] = KEY
    ring = KeyRing(truth.find, lambda: 0.0)

    def meanwhile() -> None:
        truth.during = lambda: None
        ring.refresh()

    truth.during = meanwhile
    assert ring.look_up(DIGEST) == KEY
    assert (ring.known(DIGEST), truth.asked) == (KEY, 2)

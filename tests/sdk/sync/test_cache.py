"""The copy on disk: private, whole or not there, and never trusted when damaged."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from flagloop.sync import cache as module
from flagloop.sync.cache import DamagedError, DiskCache

BODY = json.dumps({"format": 1, "revision": "k3x9.8", "flags": {"a": {}}}).encode()
OTHER = json.dumps({"format": 1, "revision": "k3x9.9", "flags": {}}).encode()


@pytest.fixture
def cache(tmp_path: Path) -> DiskCache:
    """A cache in a folder that does not exist yet."""
    return DiskCache(tmp_path / "new" / "folder", "c0ffee" * 8)


def test_what_was_saved_is_loaded(cache: DiskCache) -> None:
    """Mapping and time come back."""
    assert cache.load() is None
    cache.save(BODY, 123.5)
    assert cache.load() == (json.loads(BODY), 123.5)
    cache.save(OTHER, 124.0)
    assert cache.load() == (json.loads(OTHER), 124.0)


def test_only_the_owner_may_read(cache: DiskCache) -> None:
    """The file is 0600 and a folder made for it 0700, whatever the umask."""
    before = os.umask(0)
    try:
        cache.save(BODY, 1.0)
    finally:
        os.umask(before)
    assert stat.S_IMODE(cache.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.path.parent.stat().st_mode) == 0o700


def test_identities_have_files_of_their_own(tmp_path: Path) -> None:
    """Another key never starts from this key's rules."""
    first, second = DiskCache(tmp_path, "a" * 64), DiskCache(tmp_path, "b" * 64)
    first.save(BODY, 1.0)
    assert second.load() is None


@pytest.mark.parametrize("at", ["first", "middle", "last"])
def test_a_flipped_bit_is_found(cache: DiskCache, at: str) -> None:
    """One changed byte anywhere makes the copy useless, and it says so."""
    cache.save(BODY, 1.0)
    content = bytearray(cache.path.read_bytes())
    content[{"first": 0, "middle": len(content) // 2, "last": len(content) - 1}[at]] ^= 1
    cache.path.write_bytes(content)
    with pytest.raises(DamagedError, match="damaged"):
        cache.load()


def test_every_cut_is_found(cache: DiskCache) -> None:
    """A file that ends early, anywhere, is never taken for a ruleset."""
    cache.save(BODY, 1.0)
    content = cache.path.read_bytes()
    for length in range(len(content)):
        cache.path.write_bytes(content[:length])
        with pytest.raises(DamagedError):
            cache.load()


def test_a_copy_of_a_later_format_is_refused(cache: DiskCache) -> None:
    """An older SDK in the same folder does not misread it."""
    cache.save(b'{"format": 2, "revision": "a.1", "flags": {}}', 1.0)
    with pytest.raises(DamagedError, match="format 2"):
        cache.load()


def test_a_copy_that_others_may_write_is_refused(cache: DiskCache) -> None:
    """Somebody else could have put their own rules there."""
    cache.save(BODY, 1.0)
    cache.path.chmod(0o666)
    with pytest.raises(DamagedError, match="other users"):
        cache.load()


def test_where_files_have_no_owner_their_bits_say_nothing(
    cache: DiskCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows every file that can be written has all of these bits."""
    cache.save(BODY, 12.5)
    cache.path.chmod(0o666)
    monkeypatch.delattr(os, "getuid")
    found = cache.load()
    assert found is not None
    assert found.at == 12.5


def test_a_link_is_not_followed(cache: DiskCache, tmp_path: Path) -> None:
    """A planted link does not make us read elsewhere, and saving replaces the link itself."""
    cache.save(BODY, 1.0)
    aside = tmp_path / "aside"
    cache.path.rename(aside)
    cache.path.symlink_to(aside)
    with pytest.raises(DamagedError, match="cannot be read"):
        cache.load()
    cache.save(OTHER, 2.0)
    assert not cache.path.is_symlink()
    assert aside.read_bytes().endswith(BODY)


def test_a_folder_in_its_place_is_no_copy(cache: DiskCache) -> None:
    """What is no plain file is refused, not an unexpected exception."""
    cache.path.mkdir(parents=True)
    with pytest.raises(DamagedError):
        cache.load()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
def test_a_pipe_in_its_place_is_not_waited_for(cache: DiskCache) -> None:
    """Nobody may ever write into it, and the constructor of a client waits for nothing."""
    cache.path.parent.mkdir(parents=True)
    os.mkfifo(cache.path, 0o600)
    with pytest.raises(DamagedError, match="is no file"):
        cache.load()


def test_a_huge_file_is_refused(cache: DiskCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of the wire holds for the disk too."""
    cache.save(BODY + b" " * 4096, 1.0)
    monkeypatch.setattr(module, "RULESET_LIMIT", 2048)
    with pytest.raises(DamagedError, match="too large"):
        cache.load()


def test_a_failed_save_leaves_the_old_copy(
    cache: DiskCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs the new copy only, and leaves no part behind."""
    cache.save(BODY, 1.0)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            cache.save(OTHER, 2.0)
    assert cache.load() == (json.loads(BODY), 1.0)
    assert [path.name for path in cache.path.parent.iterdir()] == [cache.path.name]


def test_a_part_left_by_a_crash_is_in_nobodys_way(cache: DiskCache) -> None:
    """A process with the same number as the one that crashed writes over its part."""
    cache.save(BODY, 1.0)
    part = cache.path.with_suffix(f".{os.getpid()}-{cache._number}.part")
    part.write_bytes(b"half")
    cache.save(OTHER, 2.0)
    assert cache.load() == (json.loads(OTHER), 2.0)
    assert not part.exists()


def test_parts_of_killed_processes_are_cleared_away(cache: DiskCache) -> None:
    """After an hour nobody writes them any more; what is younger, or not ours, stays."""
    cache.save(BODY, 1.0)
    folder = cache.path.parent
    now = cache.path.stat().st_mtime
    ages = {"flagloop-a.1-0.part": 3700, f"{cache.path.stem}.2-0.part": 1e6,
            "flagloop-b.3-0.part": 3500, "other.part": 1e6, "flagloop-c.json": 1e6}  # fmt: skip
    for name, age in ages.items():
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (now - age, now - age))
    (folder / "flagloop-d.part").mkdir()
    os.utime(folder / "flagloop-d.part", (0, 0))
    cache.save(OTHER, 2.0)
    assert {path.name for path in folder.iterdir()} == {
        cache.path.name, "flagloop-b.3-0.part", "other.part", "flagloop-c.json", "flagloop-d.part"
    }  # fmt: skip


def test_a_copy_with_another_time_is_refused(cache: DiskCache) -> None:
    """The age that `status` tells is as trustworthy as the rules: the checksum covers it."""
    cache.save(BODY, 1000.5)
    content = cache.path.read_bytes()
    assert content.count(b"1000.5") == 1
    cache.path.write_bytes(content.replace(b"1000.5", b"9000.5"))
    with pytest.raises(DamagedError, match="wrong checksum"):
        cache.load()

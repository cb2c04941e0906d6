"""`flagloop serve` as a real process: start, signals, and what other processes change."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner

from flagloop_server.commands.serve import serve
from helpers.patience import Stopwatch, until

START = "version: 1\nflags:\n  a: {description: one}\n"


def flagloop(*arguments: str) -> Any:
    """Run a command that prints JSON."""
    command = [sys.executable, "-m", "flagloop", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def ruleset(url: str, key: str) -> requests.Response:
    """One request of an SDK."""
    header = {"Authorization": f"Bearer {key}"}
    return requests.get(f"{url}/api/v1/ruleset", headers=header, timeout=60)


def test_the_first_start_prints_keys_and_a_link_the_second_no_keys(
    tmp_path: Path, start_server: Any
) -> None:
    """Keys are shown once and work; the link is printed again while nobody signed up."""
    server = start_server(tmp_path / "data")
    said = "\n".join(server.said)
    keys = dict(re.findall(r"^server key for (\S+): (fl_srv_\S+)$", said, re.M))
    assert sorted(keys) == ["development", "production"]
    assert re.search(rf"{re.escape(server.url)}/setup/\S+", said)
    answer = ruleset(server.url, keys["production"])
    assert answer.json()["environment"] == "production"
    assert server.stop() == 0
    again = start_server(tmp_path / "data")
    assert "fl_srv_" not in "\n".join(again.said)
    assert ruleset(again.url, keys["development"]).status_code == 200
    assert again.stop(signal.SIGINT) == 0


def test_the_folder_is_for_its_owner_only(tmp_path: Path, start_server: Any) -> None:
    """It holds hashes of passwords and what users did."""
    server = start_server(tmp_path / "data")
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0
    server.stop()


def test_health_readiness_and_metrics(tmp_path: Path, start_server: Any) -> None:
    """What orchestrators and Prometheus ask."""
    server = start_server(tmp_path / "data")
    assert requests.get(server.url + "/healthz", timeout=60).json() == {"status": "ok"}
    assert requests.get(server.url + "/readyz", timeout=60).status_code == 200
    text = requests.get(server.url + "/metrics", timeout=60).text
    assert 'flagloop_revision{environment="production"} 1.0' in text
    assert 'flagloop_requests_total{route="healthz",status="200"} 1.0' in text
    server.stop()


def test_sigterm_ends_within_five_seconds_also_with_idle_and_slow_connections(
    tmp_path: Path, start_server: Any
) -> None:
    """A kept-alive connection and one whose body never comes do not hold the process."""
    server = start_server(tmp_path / "data")
    session = requests.Session()
    session.get(server.url + "/healthz", timeout=60)
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as slow:
        slow.sendall(b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        watch = Stopwatch()
        assert server.stop() == 0
        assert watch.seconds < 5
    session.close()
    assert "Traceback" not in "\n".join(server.said)


def test_sigterm_ends_within_five_seconds_also_while_a_page_waits_for_the_database(
    tmp_path: Path, start_server: Any
) -> None:
    """A change that waits for a lock of another process is cut; its sender is told to retry."""
    data = tmp_path / "data"
    server = start_server(data)
    made = flagloop("keys", "create", "--data", str(data), "--env", "production", "--kind", "admin")
    url = f"{server.url}/api/v1/admin/environments/production/push"
    header = {"Authorization": f"Bearer {made['key']}"}
    answers: list[requests.Response] = []
    with contextlib.closing(sqlite3.connect(data / "config.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        def change() -> None:
            answers.append(requests.post(url, json={"text": START}, headers=header, timeout=60))

        thread = threading.Thread(target=change)
        thread.start()
        assert until(lambda: "flagloop_web_busy 1.0" in metrics(server.url))
        watch = Stopwatch()
        assert server.stop() == 0
        assert watch.seconds < 5
        thread.join(60)
        other.execute("ROLLBACK")
    assert [answer.status_code for answer in answers] == [503]
    assert answers[0].headers["Retry-After"]
    assert "Traceback" not in "\n".join(server.said)


def metrics(url: str) -> str:
    """The metrics' text."""
    return requests.get(f"{url}/metrics", timeout=60).text


def test_keys_made_and_revoked_by_commands_are_known_at_once(
    tmp_path: Path, start_server: Any
) -> None:
    """Other processes write to the same folder; the running server notices."""
    data = tmp_path / "data"
    server = start_server(data)
    options = ("--data", str(data))
    made = flagloop("keys", "create", *options, "--env", "production", "--kind", "server")
    assert ruleset(server.url, made["key"]).status_code == 200
    flagloop("keys", "revoke", str(made["id"]), *options)
    assert until(lambda: ruleset(server.url, made["key"]).status_code == 401, 3)
    server.stop()


def test_a_change_by_another_process_is_served(tmp_path: Path, start_server: Any) -> None:
    """A command that writes to the folder reaches SDKs at their next poll."""
    from flagloop_server.changes import Changes, push
    from flagloop_server.store import SYSTEM, Store

    server = start_server(tmp_path / "data")
    with Store(tmp_path / "data") as store:
        _, key = store.create_key("production", "server", "sdk", SYSTEM)
        before = ruleset(server.url, key).headers["etag"]
        Changes(store).apply(push("production", START), SYSTEM, "test")
    assert until(lambda: ruleset(server.url, key).headers["etag"] != before, 3)
    assert "a" in ruleset(server.url, key).json()["flags"]
    server.stop()


def test_flags_are_merged_at_each_start(tmp_path: Path, start_server: Any) -> None:
    """Merged, as it is, in conflict, broken: each is told, and only the first two are in force."""
    data, file = tmp_path / "data", tmp_path / "flags.yaml"
    file.write_text(START)
    options = ("--flags", str(file), "--env", "development")

    def start() -> tuple[str, str]:
        server = start_server(data, *options)
        server.stop()
        return "\n".join(server.said), document(data)

    said, text = start()
    assert "is merged into development" in said
    assert text == START
    said, text = start()
    assert "has nothing new for development" in said
    file.write_text(START.replace("description", "desciption"))
    said, text = start()
    assert f"{file}:3: " in said
    assert "did you mean 'description'" in said
    assert text == START
    edit(data, "  a: {description: theirs}\n")
    file.write_text(START.replace("one", "mine"))
    said, text = start()
    assert "both changed: flags.a" in said
    assert "theirs" in text


def test_a_restart_with_the_same_file_takes_nothing_back(tmp_path: Path, start_server: Any) -> None:
    """What people did by share, page and push stays; a changed file tells what it took."""
    from flagloop_server.changes import Changes, push, set_share
    from flagloop_server.store import SYSTEM, Store

    data, file = tmp_path / "data", tmp_path / "deploy.yaml"
    canary = "    rules:\n      - {name: canary, share: 5%, serve: on}\n"
    file.write_text(f"version: 1\nflags:\n  a:\n{canary}  b: {{description: one}}\n  c: {{}}\n")
    options = ("--flags", str(file), "--env", "development")
    start_server(data, *options).stop()
    with Store(data) as store:
        changes = Changes(store)
        changes.apply(set_share("development", "a", "canary", "50%"), SYSTEM, "")
        pulled = store.document("development").document.text
        text = pulled.replace("one", "two")
        changes.apply(push("development", text, base=pulled), SYSTEM, "")
    server = start_server(data, *options)
    server.stop()
    assert "has nothing new for development" in "\n".join(server.said)
    assert "  kept     flags.a  (changed on the server)" in server.said
    assert document(data) == text
    file.write_text(file.read_text().replace("  c: {}", "  d: {}"))
    server = start_server(data, *options)
    server.stop()
    assert {"  taken    flags.d", "  archived flags.c"} <= set(server.said)
    assert document(data) == text.replace("  c: {}", "  d: {}")


def test_a_taken_port_is_told_with_what_to_do(tmp_path: Path) -> None:
    """It is the port and not the folder, and no key is spent."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        command = [sys.executable, "-m", "flagloop", "serve", "--port", port]
        command += ["--data", str(tmp_path / "data")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    assert "choose another --port" in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("host", ["no-such-host.invalid", "[::1]", "a..b\u00e4", ""])
def test_a_host_that_is_none_is_told_as_such(tmp_path: Path, host: str) -> None:
    """The data are not to blame, and nothing is made."""
    told = CliRunner().invoke(serve, ["--data", str(tmp_path / "data"), "--host", host])
    assert told.exit_code == 1
    assert told.output.startswith("Error: cannot listen: ")
    assert "--host" in told.output
    assert not (tmp_path / "data").exists()


def test_a_public_url_has_its_scheme(tmp_path: Path) -> None:
    """Links for people are made of it: without a scheme none would work."""
    wrong = ["--data", str(tmp_path / "data"), "--public-url", "flags.example.com"]
    told = CliRunner().invoke(serve, wrong)
    assert told.exit_code == 2
    assert "is not like https://flags.example.com" in told.output
    assert not (tmp_path / "data").exists()


def test_a_second_server_on_the_folder_is_refused(tmp_path: Path, start_server: Any) -> None:
    """It is told who is there; commands still work, and a SIGKILL leaves nothing in the way."""
    data = tmp_path / "data"
    first = start_server(data)
    command = [sys.executable, "-m", "flagloop", "serve", "--data", str(data), "--port", "0"]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert "Traceback" not in second.stderr
    pid = first.process.pid
    assert f"another server runs on {data} (process {pid})" in second.stderr
    assert requests.get(first.url + "/readyz", timeout=60).status_code == 200
    made = flagloop("keys", "create", "--data", str(data), "--env", "production")
    first.process.send_signal(signal.SIGKILL)
    first.process.wait(60)
    third = start_server(data)
    assert ruleset(third.url, made["key"]).status_code == 200
    assert third.stop() == 0


def document(data: Path) -> str:
    """The text of development."""
    from flagloop_server.store import Store

    with Store(data) as store:
        return store.document("development").document.text


def edit(data: Path, item: str) -> None:
    """Somebody edits flag `a` on a page."""
    from flagloop_server.changes import Changes, put_item
    from flagloop_server.store import SYSTEM, Store

    with Store(data) as store:
        Changes(store).apply(put_item("development", "flags", "a", item), SYSTEM, "edit")


@pytest.mark.parametrize("trouble", ["port", "folder", "environment"])
def test_a_start_that_cannot_be_is_told_in_one_line(tmp_path: Path, trouble: str) -> None:
    """Exit code 1 and no traceback; a taken port does not spend the keys of a first start."""
    data = tmp_path / "data"
    (tmp_path / "flags.yaml").write_text(START)
    options = {
        "port": ["--data", str(data)],
        "folder": ["--data", str(tmp_path / "flags.yaml" / "below"), "--port", "0"],
        "environment": ["--flags", str(tmp_path / "flags.yaml"), "--env", "qa", "--port", "0"],
    }[trouble]
    if trouble == "environment":
        options += ["--data", str(data)]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        if trouble == "port":
            options += ["--port", str(taken.getsockname()[1])]
        command = [sys.executable, "-m", "flagloop", "serve", *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    told = [line for line in done.stderr.splitlines() if " info " not in line]
    assert len(told) == 1
    assert not data.exists()


def test_data_of_a_later_flagloop_are_not_served(tmp_path: Path) -> None:
    """One line names the file and what to do; exit code 1, and no port is taken for long."""
    from flagloop_server.store import Store

    with Store(tmp_path / "data"):
        pass
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "config.db")) as connection:
        connection.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at)"
            " VALUES ('flagloop.config', 'm099_tomorrow', '')"
        )
        connection.commit()
    words = ["serve", "--data", str(tmp_path / "data"), "--port", "0"]
    command = [sys.executable, "-m", "flagloop", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    [told] = done.stderr.splitlines()
    assert "config.db is of a later flagloop (it has m099_tomorrow)" in told
    assert "restore a backup" in told


def test_an_unknown_environment_is_told_before_anything_is_done(
    tmp_path: Path, start_server: Any
) -> None:
    """With the nearest name, also where the server made others than the first two."""
    from flagloop_server.store import SYSTEM, Store

    data, file = tmp_path / "data", tmp_path / "flags.yaml"
    file.write_text(START)
    start_server(data).stop()
    with Store(data) as store:
        store.create_environment("staging", SYSTEM)
    options = ("--flags", str(file), "--env")
    command = [sys.executable, "-m", "flagloop", "serve", "--data", str(data), "--port", "0"]
    command += [*options, "stagin"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no environment 'stagin'" in done.stderr
    assert "did you mean 'staging'" in done.stderr
    server = start_server(data, *options, "staging")
    assert "is merged into staging" in "\n".join(server.said)
    server.stop()


def test_links_for_people_begin_with_where_the_server_is(tmp_path: Path, start_server: Any) -> None:
    """Its port, or its public URL; while none runs what the environment says."""
    data = tmp_path / "data"
    create = ("users", "create", "--data", str(data))
    server = start_server(data)
    link = flagloop(*create, "ana@example.com")["setup_link"]
    assert link.startswith(f"{server.url}/setup/")
    assert requests.get(link, timeout=60).status_code == 200
    server.stop()
    start_server(data, "--public-url", "https://flags.example.com/")
    words = ("users", "passwd", "ana@example.com", "--link", "--data", str(data))
    assert flagloop(*words)["setup_link"].startswith("https://flags.example.com/setup/")

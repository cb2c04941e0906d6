"""A program that does nothing but obey, until its standard input ends.

Started by test_who_obeys.py as `obeying_application.py URL KEY stream|poll`. It prints `ready`
when it decides by the server's rules, and then each change of the flag `banner`.
"""

from __future__ import annotations

import sys

from flagloop import Client


def main(url: str, key: str, mode: str) -> None:
    """Decide until told to end; nobody closes the client, as in most programs."""
    client = Client(url, key=key, interval=0.3, stream=mode == "stream")
    if not client.wait(60):
        raise SystemExit(str(client.status()))
    client.on_change(lambda changed: print(client.enabled("banner", "u-1"), flush=True))
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])

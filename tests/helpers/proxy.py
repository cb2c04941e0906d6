"""What may lie between an SDK and its server: a proxy on the loopback that turns bad at will."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator

PIECE = 65_536
STREAM = b"text/event-stream"


class Link:
    """One connection through the proxy; a `dead` one passes nothing on and tells nobody."""

    def __init__(self, writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]) -> None:
        self.writers = writers
        self.dead = False

    def abort(self) -> None:
        """Reset both ends."""
        for writer in self.writers:
            writer.transport.abort()


class Proxy:
    """Passes bytes to the port `target` of this machine.

    `delay` is seconds for each piece; so many seconds after its first answer, `lifetime`, a
    connection is reset; with `buffers` a stream's answer is kept back until it is whole.
    `made` is when each connection was.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay = 0.0
        self.lifetime: float | None = None
        self.buffers = False
        self.cuts = 0
        self.made: list[float] = []
        self.url = ""
        self._links: set[Link] = set()
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.contextmanager
    def running(self) -> Iterator[Proxy]:
        """Listening on a free port while the block runs."""
        self._loop.run_until_complete(self._listen())
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(60)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(60)
            self._loop.close()

    def vanish(self) -> None:
        """The other machine is gone: present connections stay open, and nothing passes any more."""
        for link in list(self._links):
            link.dead = True

    def cut(self) -> None:
        """Reset all present connections."""
        self._loop.call_soon_threadsafe(lambda: [self._cut(link) for link in list(self._links)])

    def _cut(self, link: Link) -> None:
        if link in self._links and not link.dead:
            self.cuts += 1
            link.abort()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _end(self) -> None:
        self._server.close()
        for link in list(self._links):
            link.abort()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.made.append(time.monotonic())
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            up, down = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        link = Link((writer, down))
        self._links.add(link)
        try:
            await asyncio.gather(
                self._pump(link, reader, down, False), self._pump(link, up, writer, True)
            )
        except OSError:
            link.abort()
        finally:
            self._links.discard(link)

    async def _pump(
        self, link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bool
    ) -> None:
        kept, keeps = [], None
        while data := await reader.read(PIECE):
            if self.delay:
                await asyncio.sleep(self.delay)
            if keeps is None and answer and self.lifetime is not None:
                self._loop.call_later(self.lifetime, self._cut, link)
            if keeps is None:
                keeps = answer and self.buffers and STREAM in data
            if link.dead:
                continue
            if keeps:
                kept.append(data)
                continue
            writer.write(data)
            await writer.drain()
        writer.write(b"".join(kept))
        if not link.dead:
            writer.close()

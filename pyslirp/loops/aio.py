"""asyncio: the stack's one descriptor in its loop (or uvloop's, which has the same interface)."""

from __future__ import annotations

import asyncio

from pyslirp.stack import Stack


class AsyncioDriver:
    """Watches one stack in one asyncio loop.  Used once; `detach` comes before the stack is closed."""

    def __init__(self, stack: Stack, loop: asyncio.AbstractEventLoop) -> None:
        self.stack = stack
        self.loop = loop
        self._watched = -1
        self._kicked = False

    def attach(self) -> None:
        """Begin.  Raises NotImplementedError in a loop that cannot watch descriptors."""
        self.loop.add_reader(self.stack.fileno(), self._process)
        self._watched = self.stack.fileno()
        self.kick()

    def detach(self) -> None:
        """End.  May be called twice, and when the loop has been closed."""
        watched, self._watched = self._watched, -1
        if watched >= 0 and not self.loop.is_closed():
            self.loop.remove_reader(watched)

    def kick(self) -> None:
        """Let what was asked of the stack take effect in this turn of the loop, once for all that asked."""
        if not self._kicked and self._watched >= 0 and not self.stack.working:
            self._kicked = True
            self.loop.call_soon(self._kick)

    def _process(self) -> None:
        watched = self._watched
        self.stack.process()
        if self.stack.closed and self._watched == watched:  # by a handler
            self.detach()

    def _kick(self) -> None:
        self._kicked = False
        if not self.stack.closed:
            self.stack.kick()

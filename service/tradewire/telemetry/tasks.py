"""Tasks with names that somebody watches."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import structlog

_log = structlog.get_logger(__name__)


class Tasks:
    """Background tasks of one owner: held, named, and heard of when they fail.

    `on_failure` is called with the name of a task that raised, or that ended though it was to run
    for ever, and with what it raised; never for tasks that are being stopped.
    """

    def __init__(self, on_failure: Callable[[str, BaseException | None], None]) -> None:
        self._on_failure = on_failure
        self._running: set[asyncio.Task[Any]] = set()
        self._stopping = False

    def __len__(self) -> int:
        return len(self._running)

    def start(
        self, name: str, coro: Coroutine[Any, Any, Any], *, forever: bool = False
    ) -> asyncio.Task[Any]:
        """Run a coroutine as a task; `forever`: that it ends at all is a failure.

        Raises:
            RuntimeError: the tasks have been stopped.
        """
        if self._stopping:
            coro.close()
            raise RuntimeError(f"task {name!r} started after the stop")
        task = asyncio.create_task(coro, name=name)
        self._running.add(task)
        task.add_done_callback(partial(self._ended, forever))
        return task

    async def finish(self, deadline_s: float) -> None:
        """Wait until those that run now have ended, or the deadline."""
        if self._running:
            await asyncio.wait(self._running, timeout=deadline_s)

    async def stop(self, deadline_s: float) -> bool:
        """Cancel all and wait for their end; False when some still run after the deadline."""
        self._stopping = True
        others = self._running - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if not others:
            return True
        _, late = await asyncio.wait(others, timeout=deadline_s)
        for task in late:
            _log.error("task does not stop", task=task.get_name())
        return not late

    def _ended(self, forever: bool, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("task failed", task=task.get_name(), exc_info=error)
        elif forever and not self._stopping:
            _log.error("task ended", task=task.get_name())
        else:
            return
        if not self._stopping:
            self._on_failure(task.get_name(), error)

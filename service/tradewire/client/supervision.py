"""Running the tasks of a connection together."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, NoReturn


async def run_until_one_ends(work: Mapping[str, Coroutine[Any, Any, None]]) -> NoReturn:
    """Run named tasks that have no end of their own; the first to end ends them all.

    Raises what ended it, that of the earliest in `work` if several did, and RuntimeError for a task
    that simply returned. None is running any more when this returns.
    """
    tasks = [asyncio.create_task(coroutine, name=name) for name, coroutine in work.items()]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    first = next(task for task in tasks if task in done)
    await first
    raise RuntimeError(f"{first.get_name()} ended")

import asyncio
import io
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from tradewire.telemetry import logs
from tradewire.telemetry.tasks import Tasks

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs.configure("info", "json", stream, service="tradewire")
    yield stream
    logs.shut_down()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_time_level_logger_and_what_was_said(stream: io.StringIO) -> None:
    structlog.get_logger("tradewire.edge").info("socket open", user_id="alice", bytes=12)
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "socket open",
        "level": "info",
        "logger": "tradewire.edge",
        "service": "tradewire",
        "user_id": "alice",
        "bytes": 12,
    }


def test_the_standard_library_is_routed_too(stream: io.StringIO) -> None:
    logging.getLogger("aiohttp.server").error("bad %s", "request", extra={"peer": "127.0.0.1"})
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["peer"]) == (
        "bad request",
        "aiohttp.server",
        "127.0.0.1",
    )


def test_less_than_the_level_is_not_logged(stream: io.StringIO) -> None:
    structlog.get_logger("tradewire").debug("detail")
    logging.getLogger("other").debug("detail")
    assert stream.getvalue() == ""


def test_addresses_of_requests_are_not_logged(stream: io.StringIO) -> None:
    logging.getLogger("aiohttp.access").info("GET /ws/chat?token=%s", TOKEN)
    assert stream.getvalue() == ""


@pytest.mark.parametrize("style", ["json", "text"])
def test_tokens_never_reach_a_log(style: Any) -> None:
    stream = io.StringIO()
    logs.configure("info", style, stream)
    log = structlog.get_logger("tradewire")
    log.info("handshake", token="opaque-word", Authorization="Bearer opaque-word")
    log.info("handshake", url=f"/ws/chat?token={TOKEN}&since=0")
    log.info("handshake", url="/ws/chat?since=0&token=opaque-word")
    logging.getLogger("aiohttp").warning("refused %s", TOKEN)
    try:
        raise ValueError(f"cannot use {TOKEN}")
    except ValueError:
        log.exception("failed")
    logs.shut_down()
    told = stream.getvalue()
    assert told.count("handshake") == 3
    assert "cannot use" in told
    assert "since=0" in told
    assert "opaque-word" not in told
    assert "eyJ" not in told


def test_a_value_that_json_does_not_know_is_described(stream: io.StringIO) -> None:
    structlog.get_logger("tradewire").info("odd", what=ValueError("x"))
    assert lines(stream)[0]["what"] == "ValueError('x')"


def test_warnings_become_log_lines(stream: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("the key is short", UserWarning, stacklevel=1)
    (line,) = lines(stream)
    assert "the key is short" in line["event"]


def test_a_terminal_gets_readable_lines() -> None:
    stream = Terminal()
    logs.configure("info", "auto", stream)
    structlog.get_logger("tradewire").info("ready", port=8080)
    logs.shut_down()
    assert "ready" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_configuring_again_replaces_the_handler() -> None:
    first, second = io.StringIO(), io.StringIO()
    logs.configure("info", "json", first)
    logs.configure("info", "json", second)
    structlog.get_logger("tradewire").info("once")
    logs.shut_down()
    assert first.getvalue() == ""
    assert len(lines(second)) == 1
    assert not any(isinstance(handler, logs.Handler) for handler in logging.getLogger().handlers)


class Failures:
    def __init__(self) -> None:
        self.seen: list[tuple[str, BaseException | None]] = []
        self.told = asyncio.Event()

    def __call__(self, name: str, error: BaseException | None) -> None:
        self.seen.append((name, error))
        self.told.set()


async def fail() -> None:
    raise OSError("disk gone")


async def end() -> None:
    return


async def wait_for_ever() -> None:
    await asyncio.Event().wait()


async def test_a_failing_task_is_logged_and_told(stream: io.StringIO) -> None:
    failures = Failures()
    tasks = Tasks(failures)
    tasks.start("writer", fail())
    await asyncio.wait_for(failures.told.wait(), 10)
    ((name, error),) = failures.seen
    assert name == "writer"
    assert isinstance(error, OSError)
    (line,) = lines(stream)
    assert (line["event"], line["task"], line["level"]) == ("task failed", "writer", "error")
    assert "disk gone" in line["exception"]
    assert len(tasks) == 0


async def test_a_task_may_end_unless_it_runs_for_ever(stream: io.StringIO) -> None:
    failures = Failures()
    tasks = Tasks(failures)
    await tasks.start("once", end())
    tasks.start("heartbeat", end(), forever=True)
    await asyncio.wait_for(failures.told.wait(), 10)
    assert failures.seen == [("heartbeat", None)]
    assert [line["task"] for line in lines(stream)] == ["heartbeat"]


async def test_stopping_cancels_all_and_tells_nobody(stream: io.StringIO) -> None:
    failures = Failures()
    tasks = Tasks(failures)
    running = [tasks.start(f"socket {n}", wait_for_ever(), forever=True) for n in range(3)]
    await asyncio.sleep(0)
    assert await tasks.stop(10)
    assert all(task.cancelled() for task in running)
    assert failures.seen == []
    assert stream.getvalue() == ""
    with pytest.raises(RuntimeError, match="after the stop"):
        tasks.start("late", wait_for_ever())


async def test_a_task_may_stop_the_others() -> None:
    tasks = Tasks(Failures())
    other = tasks.start("other", wait_for_ever())

    async def stop() -> bool:
        return await tasks.stop(10)

    assert await tasks.start("stopper", stop())
    assert other.cancelled()


async def test_a_task_that_does_not_stop_is_named(stream: io.StringIO) -> None:
    tasks = Tasks(Failures())
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    task = tasks.start("stubborn", stubborn())
    await asyncio.sleep(0)
    assert not await tasks.stop(0.01)
    assert lines(stream)[0]["task"] == "stubborn"
    release.set()
    await asyncio.wait_for(task, 10)


async def test_stopping_nothing_is_done_at_once() -> None:
    assert await Tasks(Failures()).stop(10)

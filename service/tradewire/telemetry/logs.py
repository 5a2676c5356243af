"""Logs: one stream on standard error, as JSON lines or readable, without tokens."""

import logging
import re
import sys
from typing import Any, Literal, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

SECRET_KEYS = frozenset({"token", "authorization", "password", "secret"})

_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*|(?<=[?&]token=)[^&\s\"']+")
"""A JWT anywhere in a line, or what a query string calls a token."""


class Handler(logging.StreamHandler[TextIO]):
    """The one handler of the process; tokens are cut out of every line, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        """The finished line."""
        return _TOKEN.sub("…", super().format(record))


def configure(
    level: str = "info",
    style: Literal["auto", "json", "text"] = "auto",
    stream: TextIO | None = None,
    **always: str,
) -> None:
    """Send what structlog and the standard library log to `stream` (standard error).

    `always` is added to every line. What an earlier call set up is replaced.
    """
    stream = stream or sys.stderr
    readable = style == "text" or (style == "auto" and stream.isatty())
    shared = _processors(always)
    handler = Handler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(readable, colors=stream.isatty()),
            ],
        )
    )
    _install(handler, level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def shut_down() -> None:
    """Take the handler away and close it; later logs go where Python sends them."""
    root = logging.getLogger()
    for handler in [known for known in root.handlers if isinstance(known, Handler)]:
        root.removeHandler(handler)
        handler.close()
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def hide_secrets(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Drop what is logged under the name of a secret."""
    return {name: value for name, value in event.items() if name.lower() not in SECRET_KEYS}


def _processors(always: dict[str, str]) -> list[Processor]:
    def add_always(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {**always, **event}

    return [
        structlog.contextvars.merge_contextvars,
        add_always,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
    ]


def _renderers(readable: bool, colors: bool) -> list[Processor]:
    if readable:
        # A plain traceback: the others show local variables, and those hold secrets.
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]
    return [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(serializer=_json),
    ]


def _json(event: Any, **_: object) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()


def _install(handler: Handler, level: str) -> None:
    shut_down()
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level.upper())
    # aiohttp would log the address of each request, tokens in queries included.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    # aiokafka logs an error ten times a second while a broker is away; who calls it says so once.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)

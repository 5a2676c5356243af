"""The settings: one table that is parsed, shown by `tradewire config`, and printed in the docs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from tradewire.domain.types import Name
from tradewire.edge.keys import public_key

LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The effective settings; `_s` is seconds. What each means stands in `SETTINGS`."""

    host: str
    port: int
    data_dir: Path
    store: Literal["sqlite"]
    events: Literal["embedded"]
    workers: int
    drain_s: float
    service_name: str
    cell_id: str
    jwt_secret: str | None
    jwt_public_key: str | None
    jwt_jwks_url: str | None
    jwt_issuer: str | None
    jwt_audience: str | None
    jwt_leeway_s: float
    messages_per_second: int
    commands_per_second: int
    connections_per_device: int
    connections_per_user: int
    catalog_required: bool
    log_level: str
    log_format: Literal["auto", "json", "text"]


class SettingsError(Exception):
    """What is wrong with the settings: every (name, fault) at once."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__("\n".join(f"{name}: {fault}" for name, fault in faults))
        self.faults = faults


class Setting(msgspec.Struct, frozen=True):
    """One setting: its variable, its field in `Settings`, and how its text becomes a value.

    A variable that is empty counts as not set; `default` is parsed like any other text.
    """

    name: str
    field: str
    default: str
    parse: Callable[[str], Any]
    unit: str
    meaning: str
    secret: bool = False


def _text(text: str) -> str | None:
    return text or None


def _named(text: str) -> str:
    try:
        return msgspec.convert(text, Name)
    except msgspec.ValidationError:
        raise ValueError("must be 1 to 128 characters of A-Za-z0-9._:@-") from None


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a whole number") from None
        if not least <= value <= most:
            raise ValueError(f"must be {least} to {most}, not {value}")
        return value

    return parse


def _seconds(most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a number") from None
        if not 0 <= value <= most:
            raise ValueError(f"must be 0 to {most:g} seconds, not {text}")
        return value

    return parse


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}, not {text!r}")
        return text.lower()

    return parse


def _only(choice: str, later: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text == later:
            raise ValueError(f"{later} is not in this version; leave it at {choice}")
        return _one_of(choice)(text)

    return parse


def _flag(text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise ValueError(f"must be true or false, not {text!r}")
    return words[text.lower()]


def _workers(text: str) -> int:
    workers = _whole(1, 1024)(text)
    if workers > 1:
        raise ValueError("more than 1 is not in this version: the embedded store has one process")
    return workers


def _secret(text: str) -> str | None:
    if text.startswith("-----BEGIN"):
        raise ValueError("holds a PEM key; a public key belongs in JWT_PUBLIC_KEY")
    return text or None


def _pem(text: str) -> str | None:
    if not text:
        return None
    try:
        pem = text if text.startswith("-----BEGIN") else Path(text).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"is neither PEM nor a file that can be read: {error}") from error
    public_key(pem)
    return pem


def _key_address(text: str) -> str | None:
    if not text:
        return None
    url = urlsplit(text)
    if url.username or url.password:
        raise ValueError("must hold no user or password")
    in_clear = url.scheme == "http" and url.hostname in LOOPBACK
    if not (in_clear or (url.scheme == "https" and url.hostname)):
        raise ValueError("must be an https address (http only on this machine)")
    return text


SETTINGS = (
    Setting("LISTEN_HOST", "host", "127.0.0.1", str, "", "Address to listen on."),
    Setting(
        "LISTEN_PORT",
        "port",
        "8080",
        _whole(0, 65535),
        "",
        "Port to listen on; 0 takes a free one.",
    ),
    Setting("DATA_DIR", "data_dir", "data", Path, "", "Folder of the embedded store."),
    Setting("STORE", "store", "sqlite", _only("sqlite", "scylla"), "", "Where messages are kept."),
    Setting(
        "EVENTS", "events", "embedded", _only("embedded", "kafka"), "", "Where domain events go."
    ),
    Setting("WORKERS", "workers", "1", _workers, "processes", "Processes that serve."),
    Setting(
        "DRAIN_SECONDS",
        "drain_s",
        "10",
        _seconds(600),
        "s",
        "How long a stopping server spreads the reconnects of its clients.",
    ),
    Setting("SERVICE_NAME", "service_name", "tradewire", _named, "", "Name in the logs."),
    Setting(
        "CELL_ID", "cell_id", "default", _named, "", "Name of this installation; in `ce_source`."
    ),
    Setting(
        "JWT_SECRET",
        "jwt_secret",
        "",
        _secret,
        "",
        "Secret of HS256 tokens, 32 bytes or more; with no key at all one is made on first start.",
        secret=True,
    ),
    Setting(
        "JWT_PUBLIC_KEY",
        "jwt_public_key",
        "",
        _pem,
        "",
        "Public key of RS256, ES256 or EdDSA tokens: PEM, or the path of a PEM file.",
    ),
    Setting(
        "JWT_JWKS_URL", "jwt_jwks_url", "", _key_address, "", "Address of the key set of tokens."
    ),
    Setting("JWT_ISSUER", "jwt_issuer", "", _text, "", "The `iss` that a token must carry."),
    Setting("JWT_AUDIENCE", "jwt_audience", "", _text, "", "The `aud` that a token must carry."),
    Setting(
        "JWT_LEEWAY", "jwt_leeway_s", "5", _seconds(300), "s", "Clock difference that is forgiven."
    ),
    Setting(
        "MESSAGES_PER_SECOND",
        "messages_per_second",
        "10",
        _whole(0, 1_000_000),
        "1/s",
        "Messages of one user, with a burst of 5 s' worth; 0 is no limit.",
    ),
    Setting(
        "COMMANDS_PER_SECOND",
        "commands_per_second",
        "100",
        _whole(0, 1_000_000),
        "1/s",
        "Commands of one connection; 0 is no limit.",
    ),
    Setting(
        "CONNECTIONS_PER_DEVICE",
        "connections_per_device",
        "1",
        _whole(1, 1000),
        "",
        "Sockets of one device; a newer one replaces the oldest.",
    ),
    Setting(
        "CONNECTIONS_PER_USER",
        "connections_per_user",
        "10",
        _whole(1, 100_000),
        "",
        "Sockets of one user; more are refused.",
    ),
    Setting(
        "CATALOG_REQUIRED",
        "catalog_required",
        "false",
        _flag,
        "",
        "Refuse conversations about products that the catalogue does not know.",
    ),
    Setting(
        "LOG_LEVEL",
        "log_level",
        "info",
        _one_of("debug", "info", "warning", "error"),
        "",
        "Least severity that is logged.",
    ),
    Setting(
        "LOG_FORMAT",
        "log_format",
        "auto",
        _one_of("auto", "json", "text"),
        "",
        "How logs are written; auto is text for a terminal, else json.",
    ),
)

_ENGINES = (("SCYLLA_HOSTS", "STORE", "sqlite"), ("KAFKA_BROKERS", "EVENTS", "embedded"))
"""A variable that asks for an engine unless another one says otherwise."""


def load_settings(environ: Mapping[str, str], overrides: Mapping[str, object]) -> Settings:
    """The settings of the environment, replaced by those `overrides` (by field) that are not None.

    Raises:
        SettingsError: with every fault there is.
    """
    given = {setting.name: _given(setting, environ, overrides) for setting in SETTINGS}
    values: dict[str, Any] = {}
    faults = [
        (engine, f"asks for an engine not in this version; unset it, or set {name}={default}")
        for engine, name, default in _ENGINES
        if environ.get(engine) and not given[name]
    ]
    for setting in SETTINGS:
        try:
            values[setting.field] = setting.parse(given[setting.name] or setting.default)
        except ValueError as error:
            faults.append((setting.name, str(error)))
    if faults:
        raise SettingsError(faults)
    return Settings(**values)


def _given(setting: Setting, environ: Mapping[str, str], overrides: Mapping[str, object]) -> str:
    override = overrides.get(setting.field)
    return environ.get(setting.name, "").strip() if override is None else str(override)


def describe(settings: Settings) -> str:
    """The effective settings, a line each, as `NAME=value`; secrets are masked."""
    return "".join(f"{setting.name}={_shown(setting, settings)}\n" for setting in SETTINGS)


def _shown(setting: Setting, settings: Settings) -> str:
    value = getattr(settings, setting.field)
    if value is None:
        return ""
    if setting.secret:
        return "********"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value).strip().replace("\n", "\\n")


def settings_table() -> str:
    """The page `docs/reference/settings.md`."""
    rows = "".join(
        f"| `{setting.name}` | {_code(setting.default)} | {setting.unit} | {setting.meaning} |\n"
        for setting in SETTINGS
    )
    return (
        "# Settings\n\n"
        "Environment variables; an empty one counts as not set. Options of `tradewire serve` win"
        " over them.\n`tradewire config` prints what is in effect, with secrets masked."
        " This page is written by `make docs`.\n\n"
        "| name | default | unit | meaning |\n| --- | --- | --- | --- |\n"
        f"{rows}"
    )


def _code(text: str) -> str:
    return f"`{text}`" if text else ""

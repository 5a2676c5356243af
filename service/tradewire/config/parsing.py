"""How the text of a setting becomes its value; a text that cannot is a ValueError that says why."""

import re
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from tradewire.domain.types import Name
from tradewire.edge.keys import public_key

LOOPBACK = ("localhost", "127.0.0.1", "::1")
CQL_PORT = 9042
KAFKA_PORT = 9092

_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?")
_PREFIX = re.compile(r"[A-Za-z0-9._-]{0,200}")
_KEYSPACE = re.compile(r"[a-z][a-z0-9_]{0,47}")


def text_or_none(text: str) -> str | None:
    """The text itself, None for an empty one."""
    return text or None


def name(text: str) -> str:
    """A name as the domain has them."""
    try:
        return msgspec.convert(text, Name)
    except msgspec.ValidationError:
        raise ValueError("must be 1 to 128 characters of A-Za-z0-9._:@-") from None


def whole(least: int, most: int) -> Callable[[str], int]:
    """A whole number within bounds."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a whole number") from None
        if not least <= value <= most:
            raise ValueError(f"must be {least} to {most}, not {value}")
        return value

    return parse


def whole_or_none(least: int, most: int) -> Callable[[str], int | None]:
    """A whole number within bounds, None for an empty text."""
    parse = whole(least, most)
    return lambda text: parse(text) if text else None


def seconds(most: float, *, least: float = 0) -> Callable[[str], float]:
    """A time within bounds."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a number") from None
        if not least <= value <= most:
            raise ValueError(f"must be {least:g} to {most:g} seconds, not {text}")
        return value

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    """One of some words, in any case."""

    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}, not {text!r}")
        return text.lower()

    return parse


def capitals(*choices: str) -> Callable[[str], str | None]:
    """One of some words in capitals, given in any case; "" among them is None."""

    def parse(text: str) -> str | None:
        if text.upper() not in choices:
            raise ValueError(f"must be one of {', '.join(filter(None, choices))}, not {text!r}")
        return text.upper() or None

    return parse


def flag(text: str) -> bool:
    """Yes or no."""
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise ValueError(f"must be true or false, not {text!r}")
    return words[text.lower()]


def secret(text: str) -> str | None:
    """A secret that signs tokens."""
    if text.startswith("-----BEGIN"):
        raise ValueError("holds a PEM key; a public key belongs in JWT_PUBLIC_KEY")
    return text or None


def pem(text: str) -> str | None:
    """A public key, given as PEM or as the path of a PEM file."""
    if not text:
        return None
    try:
        found = text if text.startswith("-----BEGIN") else Path(text).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"is neither PEM nor a file that can be read: {error}") from error
    public_key(found)
    return found


def key_address(text: str) -> str | None:
    """The address of a key set."""
    if not text:
        return None
    url = urlsplit(text)
    if url.username or url.password:
        raise ValueError("must hold no user or password")
    in_clear = url.scheme == "http" and url.hostname in LOOPBACK
    if not (in_clear or (url.scheme == "https" and url.hostname)):
        raise ValueError("must be an https address (http only on this machine)")
    return text


def hosts(text: str) -> tuple[tuple[str, int], ...]:
    """Nodes of a cluster, all on one port, as (host, port)."""
    found = _hosts(text, CQL_PORT)
    ports = sorted({port for _, port in found})
    if len(ports) > 1:
        raise ValueError(f"all nodes must listen on one port, not on {', '.join(map(str, ports))}")
    return found


def brokers(text: str) -> tuple[tuple[str, int], ...]:
    """Brokers as (host, port)."""
    return _hosts(text, KAFKA_PORT)


def _hosts(text: str, default_port: int) -> tuple[tuple[str, int], ...]:
    if not text:
        return ()
    return tuple(_host(entry.strip(), default_port) for entry in text.split(","))


def _host(entry: str, default_port: int) -> tuple[str, int]:
    found = _HOST.fullmatch(entry)
    port = int(found[3] or default_port) if found else 0
    if found is None or not 0 < port <= 65535:
        raise ValueError(f"{entry!r} is not host or host:port (an IPv6 address in brackets)")
    return found[1] or found[2], port


def topic_prefix(text: str) -> str:
    """What may stand before the name of a topic."""
    if _PREFIX.fullmatch(text) is None:
        raise ValueError("must be at most 200 characters of A-Za-z0-9._-")
    return text


def keyspace(text: str) -> str:
    """The name of a keyspace that needs no quotes."""
    if _KEYSPACE.fullmatch(text) is None:
        raise ValueError("must be 1 to 48 characters of a-z0-9_, a letter first")
    return text


def certificates(text: str) -> Path | None:
    """A file of certificates to trust."""
    if not text:
        return None
    try:
        ssl.create_default_context(cafile=text)
    except OSError as error:
        raise ValueError(f"is no file of certificates that can be read: {error}") from error
    return Path(text)

"""Addresses as text, and ports that are free."""

import random
import socket

from tradewire.testing.engines.errors import EngineError

BELOW_EPHEMERAL = range(10_240, 32_768)
"""Ports that the system gives to no outgoing connection, so that a restart finds them free."""


def split(address: str) -> tuple[str, int]:
    """Host and port of `host:port`; a host of IPv6 stands in brackets.

    Raises:
        EngineError: it is not such an address.
    """
    host, _, port = address.strip().rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise EngineError(f"{address!r} is no host:port")
    return host.strip("[]"), int(port)


def listed(addresses: str) -> tuple[str, ...]:
    """The addresses of a list with commas, each checked.

    Raises:
        EngineError: one of them is not `host:port`.
    """
    found = tuple(address.strip() for address in addresses.split(","))
    for address in found:
        split(address)
    return found


def free_ports(hosts: tuple[str, ...], count: int) -> list[int]:
    """Ports that nobody listens on, on any of these hosts.

    Raises:
        EngineError: there are too few.
    """
    drawn = random.Random().sample(BELOW_EPHEMERAL, 200)
    free = [port for port in drawn if all(_is_free(host, port) for host in hosts)]
    if len(free) < count:
        raise EngineError(f"{count} free ports are not to be found on {', '.join(hosts)}")
    return free[:count]


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True

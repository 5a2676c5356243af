"""How to reach a cluster; the driver need not be there to say so."""

from msgspec import Struct

GROUP_UNITS = 512
"""Units in a commit group at most."""
GROUPS_IN_FLIGHT = 3
"""Commit groups under way at once, unless a node is told otherwise."""
MOST_GROUPS_IN_FLIGHT = 8
"""As many groups of a run may be durable and not yet visible, whatever its node was told: whoever
takes it over does not know, and finishes as many.
"""


class Options(Struct, frozen=True, kw_only=True):
    """How to reach a cluster.

    Attributes:
        hosts: (host, port) of some of its nodes; all listen on the same port.
        datacenter: whose nodes are asked; None: of whichever.
        replication_factor: of a keyspace that is made, in each datacenter.
        ca_file: certificates to trust, for connections in TLS; "" for those of the system.
    """

    hosts: tuple[tuple[str, int], ...]
    keyspace: str
    datacenter: str | None = None
    username: str | None = None
    password: str | None = None
    replication_factor: int = 3
    tls: bool = False
    ca_file: str = ""

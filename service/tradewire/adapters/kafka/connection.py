"""What every client of Kafka here has in common."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError

from tradewire.adapters.kafka.options import Options
from tradewire.domain.errors import Unavailable

REQUEST_S = 5.0
CLIENT_ID = "tradewire"


def client_arguments(options: Options) -> dict[str, Any]:
    """The arguments that a client of aiokafka takes to reach the brokers."""
    return {
        "bootstrap_servers": [_address(host, port) for host, port in options.brokers],
        "client_id": CLIENT_ID,
        "request_timeout_ms": int(REQUEST_S * 1000),
        "security_protocol": options.security_protocol,
        "ssl_context": _tls(options),
        # Not looked at where nobody logs in, but never to be left out.
        "sasl_mechanism": options.sasl_mechanism or "PLAIN",
        "sasl_plain_username": options.username,
        "sasl_plain_password": options.password,
    }


@asynccontextmanager
async def administration(options: Options, deadline_s: float) -> AsyncIterator[AIOKafkaAdminClient]:
    """A connection for questions about the cluster; all that is done on it has one deadline.

    Raises:
        Unavailable: the cluster did not answer in time.
    """
    client = AIOKafkaAdminClient(**client_arguments(options))
    try:
        async with asyncio.timeout(deadline_s):
            await client.start()
            yield client
    except (KafkaError, OSError, TimeoutError) as error:
        raise unavailable(error) from error
    finally:
        await client.close()


def unavailable(error: BaseException) -> Unavailable:
    """What callers get for an error of the client; it stays with it as its cause."""
    reason = str(error) or type(error).__name__
    if isinstance(error, KafkaConnectionError):
        # The client keeps to itself, and to its log, why.
        reason = "no broker of KAFKA_BROKERS can be reached or lets us in (see tradewire doctor)"
    return Unavailable(f"Kafka does not answer: {reason}")


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _tls(options: Options) -> ssl.SSLContext | None:
    if not options.security_protocol.endswith("SSL"):
        return None
    return ssl.create_default_context(cafile=options.ca_file or None)

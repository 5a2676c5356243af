"""The sockets to the cluster, which the loop of the node reads and writes: TLS, and cuts."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from tests.engines import Keyspace
from tests.fault.proxy import Proxy
from tradewire.adapters.scylla.engine import Engine
from tradewire.adapters.scylla.options import Options
from tradewire.domain.errors import Unavailable
from tradewire.ports import StoreError

BLOB = bytes(range(256)) * 1_024
DEADLINE_S = 20.0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that signs itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cluster")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(private + made.public_bytes(Encoding.PEM))
    return path


@pytest.fixture
async def in_tls(keyspace: Keyspace, certificate: Path) -> AsyncIterator[Proxy]:
    """The engine behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with Proxy(context) as proxy:
        proxy.upstreams = [keyspace.options.hosts[0][1]]
        yield proxy


def through(proxy: Proxy, options: Options, **changed: object) -> Engine:
    return Engine(replace(options, hosts=(("127.0.0.1", proxy.port),), **changed))


async def write_and_read(engine: Engine, run: int, count: int) -> None:
    """Large values there and back, many at once."""
    await asyncio.gather(
        *(engine.rows("ADD_BATCH", run, run, number, BLOB, b"") for number in range(1, count + 1))
    )
    found = await engine.rows("BATCHES", run, run, 0, count)
    assert [(number, bytes(blob)) for number, blob in found] == [
        (number, BLOB) for number in range(1, count + 1)
    ]


async def test_large_values_go_over_tls(
    in_tls: Proxy, keyspace: Keyspace, certificate: Path
) -> None:
    engine = through(in_tls, keyspace.options, tls=True, ca_file=str(certificate))
    await engine.open()
    try:
        await write_and_read(engine, uuid4().int >> 65, 16)
    finally:
        await engine.close()


async def test_a_cluster_whose_certificate_nobody_vouches_for_is_refused(
    in_tls: Proxy, keyspace: Keyspace
) -> None:
    engine = through(in_tls, keyspace.options, tls=True)
    with pytest.raises(StoreError, match="certificate verify failed"):
        await engine.open()


async def test_what_is_under_way_when_connections_are_cut_is_answered_and_all_goes_on(
    in_the_open: Proxy, keyspace: Keyspace
) -> None:
    engine, run = through(in_the_open, keyspace.options), uuid4().int >> 65
    await engine.open()
    try:
        await write_and_read(engine, run, 4)
        under_way = [
            asyncio.create_task(engine.rows("ADD_BATCH", run, run, number, BLOB, b""))
            for number in range(1, 33)
        ]
        await asyncio.sleep(0)
        for link in list(in_the_open.links):
            link.cut_after(len(BLOB), to_client=False)
        async with asyncio.timeout(DEADLINE_S):
            outcomes = await asyncio.gather(*under_way, return_exceptions=True)
            failed = [each for each in outcomes if isinstance(each, BaseException)]
            assert failed
            assert {type(each) for each in failed} == {Unavailable}
            await until_reachable(engine)
        await write_and_read(engine, run, 32)
    finally:
        await engine.close()


async def until_reachable(engine: Engine) -> None:
    while True:
        try:
            await engine.rows("SLICES", 1)
        except Unavailable:
            await asyncio.sleep(0.05)
        else:
            return

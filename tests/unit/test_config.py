from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from tradewire.adapters.kafka.options import Options as KafkaOptions
from tradewire.adapters.scylla.options import GROUPS_IN_FLIGHT, Options
from tradewire.config import (
    SETTINGS,
    SettingsError,
    describe,
    kafka_options,
    load_settings,
    scylla_options,
    settings_table,
)

ROOT = Path(__file__).parents[2]


def pem_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    public = key.public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """The certificate of an authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "authority.pem"
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return path


def faults_of(environ: dict[str, str], **overrides: object) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ, overrides)
    return dict(caught.value.faults)


def test_without_anything_set_the_defaults_hold() -> None:
    settings = load_settings({}, {})
    assert (settings.host, settings.port, settings.data_dir) == ("127.0.0.1", 8080, Path("data"))
    assert (settings.store, settings.events, settings.workers) == ("sqlite", "embedded", 1)
    assert settings.jwt_leeway_s == 5
    assert settings.jwt_secret is None
    assert settings.messages_per_second == 10
    assert settings.catalog_required is False


def test_an_override_wins_over_the_environment_unless_it_is_none() -> None:
    environ = {"LISTEN_PORT": "9000", "DATA_DIR": "/srv/chat"}
    settings = load_settings(environ, {"port": 0, "data_dir": None})
    assert settings.port == 0
    assert settings.data_dir == Path("/srv/chat")


def test_an_empty_variable_counts_as_not_set() -> None:
    settings = load_settings({"LISTEN_PORT": "", "JWT_ISSUER": "  "}, {})
    assert settings.port == 8080
    assert settings.jwt_issuer is None


def test_all_faults_are_told_at_once() -> None:
    faults = faults_of(
        {"LISTEN_PORT": "http", "JWT_LEEWAY": "-1", "CATALOG_REQUIRED": "maybe"}, workers=4
    )
    assert set(faults) == {"LISTEN_PORT", "JWT_LEEWAY", "CATALOG_REQUIRED", "WORKERS"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LISTEN_PORT", "65536"),
        ("LISTEN_PORT", "80.5"),
        ("WORKERS", "0"),
        ("WORKERS", "2"),
        ("COMMIT_GROUP_UNITS", "0"),
        ("COMMIT_GROUP_UNITS", "1001"),
        ("COMMIT_GROUP_UNITS", "all"),
        ("COMMIT_GROUPS_IN_FLIGHT", "0"),
        ("COMMIT_GROUPS_IN_FLIGHT", "9"),
        ("DRAIN_SECONDS", "nan"),
        ("DRAIN_SECONDS", "soon"),
        ("DRAIN_SECONDS", "601"),
        ("CELL_ID", "a b"),
        ("SCYLLA_HOSTS", "a b"),
        ("SCYLLA_HOSTS", "one:cql"),
        ("SCYLLA_HOSTS", "one:0"),
        ("SCYLLA_HOSTS", "one:65536"),
        ("SCYLLA_HOSTS", "one,,three"),
        ("SCYLLA_HOSTS", "::1"),
        ("SCYLLA_HOSTS", "one:9042,two:9043"),
        ("SCYLLA_HOSTS", "http://one"),
        ("SCYLLA_KEYSPACE", "Shop"),
        ("SCYLLA_KEYSPACE", "1st"),
        ("SCYLLA_KEYSPACE", "a" * 49),
        ("SCYLLA_REPLICATION_FACTOR", "0"),
        ("SCYLLA_REPLICATION_FACTOR", "10"),
        ("SCYLLA_TLS", "maybe"),
        ("SCYLLA_CA_FILE", "/no/such/file.pem"),
        ("SCYLLA_CA_FILE", __file__),
        ("KAFKA_BROKERS", "one,,three"),
        ("KAFKA_BROKERS", "one:0"),
        ("KAFKA_TOPIC_PREFIX", "a b"),
        ("KAFKA_REPLICATION_FACTOR", "0"),
        ("KAFKA_PARTITIONS", "0"),
        ("KAFKA_LINGER_MS", "-1"),
        ("KAFKA_LINGER_MS", "1001"),
        ("KAFKA_BATCH_BYTES", "16383"),
        ("KAFKA_BATCH_BYTES", "900001"),
        ("KAFKA_SECURITY_PROTOCOL", "TLS"),
        ("KAFKA_SASL_MECHANISM", "GSSAPI"),
        ("KAFKA_CA_FILE", "/no/such/file.pem"),
        ("NODE_LEASE_SECONDS", "1"),
        ("NODE_LEASE_SECONDS", "61"),
        ("CONNECTIONS_PER_DEVICE", "0"),
        ("MESSAGES_PER_SECOND", "-1"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("STORE", "postgres"),
        ("EVENTS", "none"),
        ("JWT_SECRET", "-----BEGIN PUBLIC KEY-----"),
        ("JWT_PUBLIC_KEY", "/no/such/file.pem"),
        ("JWT_PUBLIC_KEY", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"),
        ("JWT_JWKS_URL", "http://keys.example/jwks"),
        ("JWT_JWKS_URL", "https://user:word@keys.example/jwks"),
        ("JWT_JWKS_URL", "file:///etc/keys"),
    ],
)
def test_a_bad_value_is_a_fault_of_its_setting(name: str, text: str) -> None:
    assert list(faults_of({name: text})) == [name]


def test_brokers_make_kafka_the_way_of_events_unless_told_otherwise() -> None:
    environ = {"KAFKA_BROKERS": "127.0.0.1"}
    assert load_settings(environ, {}).events == "kafka"
    assert load_settings({**environ, "EVENTS": "embedded"}, {}).events == "embedded"
    assert load_settings(environ, {"events": "embedded"}).events == "embedded"
    assert load_settings({}, {}).events == "embedded"


def test_kafka_needs_brokers() -> None:
    assert list(faults_of({"EVENTS": "kafka"})) == ["KAFKA_BROKERS"]
    assert list(faults_of({}, events="kafka")) == ["KAFKA_BROKERS"]


def test_how_kafka_is_reached_follows_from_the_settings(authority: Path) -> None:
    environ = {
        "KAFKA_BROKERS": "one,two:9093",
        "KAFKA_TOPIC_PREFIX": "shop.",
        "KAFKA_REPLICATION_FACTOR": "2",
        "KAFKA_PARTITIONS": "6",
        "KAFKA_LINGER_MS": "5",
        "KAFKA_BATCH_BYTES": "16384",
        "KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
        "KAFKA_SASL_MECHANISM": "scram-sha-512",
        "KAFKA_USERNAME": "chat",
        "KAFKA_PASSWORD": "word",
        "KAFKA_CA_FILE": str(authority),
    }
    assert kafka_options(load_settings(environ, {})) == KafkaOptions(
        brokers=(("one", 9092), ("two", 9093)),
        topic_prefix="shop.",
        replication_factor=2,
        partitions=6,
        linger_ms=5,
        batch_bytes=16_384,
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        username="chat",
        password="word",
        ca_file=str(authority),
    )


def test_kafka_is_reached_plainly_by_default() -> None:
    options = kafka_options(load_settings({"KAFKA_BROKERS": "one"}, {}))
    assert options == KafkaOptions(brokers=(("one", 9092),))


def test_logging_in_to_kafka_needs_all_of_it_and_a_protocol_that_does() -> None:
    named = {"KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_USERNAME": "chat", "KAFKA_PASSWORD": "word"}
    protocol = {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}
    assert faults_of(named).keys() == faults_of(protocol).keys() == named.keys()
    load_settings({**named, **protocol}, {})


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SASL_PLAINTEXT"])
def test_certificates_for_brokers_that_are_not_in_tls_are_a_fault(
    authority: Path, protocol: str
) -> None:
    environ = {"KAFKA_CA_FILE": str(authority), "KAFKA_SECURITY_PROTOCOL": protocol}
    assert "KAFKA_CA_FILE" in faults_of(environ)
    load_settings({"KAFKA_CA_FILE": str(authority), "KAFKA_SECURITY_PROTOCOL": "SSL"}, {})


def test_nodes_of_a_cluster_make_it_the_store_unless_told_otherwise() -> None:
    environ = {"SCYLLA_HOSTS": "127.0.0.1"}
    assert load_settings(environ, {}).store == "scylla"
    assert load_settings({**environ, "STORE": "SQLite"}, {}).store == "sqlite"
    assert load_settings({**environ, "STORE": "scylla"}, {"store": "sqlite"}).store == "sqlite"
    assert load_settings(environ, {"store": "scylla"}).store == "scylla"


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("one", (("one", 9042),)),
        (" one.example , 10.0.0.2:9042", (("one.example", 9042), ("10.0.0.2", 9042))),
        ("one:19042,two:19042", (("one", 19042), ("two", 19042))),
        ("[::1],[fe80::2]:9042", (("::1", 9042), ("fe80::2", 9042))),
    ],
)
def test_nodes_are_hosts_with_or_without_a_port(
    text: str, hosts: tuple[tuple[str, int], ...]
) -> None:
    assert load_settings({"SCYLLA_HOSTS": text}, {}).scylla_hosts == hosts


def test_a_bad_node_is_named() -> None:
    told = faults_of({"SCYLLA_HOSTS": "one,two:port,three"})["SCYLLA_HOSTS"]
    assert "'two:port'" in told
    assert "one" not in told


def test_a_cluster_needs_nodes() -> None:
    assert "SCYLLA_HOSTS" in faults_of({"STORE": "scylla"})
    assert "SCYLLA_HOSTS" in faults_of({}, store="scylla")


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"SCYLLA_USERNAME": "chat"}, "SCYLLA_PASSWORD"),
        ({"SCYLLA_PASSWORD": "word"}, "SCYLLA_USERNAME"),
    ],
)
def test_half_of_what_belongs_together_is_a_fault(environ: dict[str, str], name: str) -> None:
    assert list(faults_of(environ)) == [name]


def test_certificates_for_connections_that_are_not_in_tls_are_a_fault(authority: Path) -> None:
    assert list(faults_of({"SCYLLA_CA_FILE": str(authority)})) == ["SCYLLA_CA_FILE"]
    load_settings({"SCYLLA_CA_FILE": str(authority), "SCYLLA_TLS": "yes"}, {})


def test_how_a_cluster_is_reached_follows_from_the_settings(authority: Path) -> None:
    environ = {
        "SCYLLA_HOSTS": "one,two",
        "SCYLLA_KEYSPACE": "shop_1",
        "SCYLLA_DATACENTER": "west",
        "SCYLLA_USERNAME": "chat",
        "SCYLLA_PASSWORD": "word",
        "SCYLLA_REPLICATION_FACTOR": "2",
        "SCYLLA_TLS": "true",
        "SCYLLA_CA_FILE": str(authority),
    }
    assert scylla_options(load_settings(environ, {})) == Options(
        hosts=(("one", 9042), ("two", 9042)),
        keyspace="shop_1",
        datacenter="west",
        username="chat",
        password="word",
        replication_factor=2,
        tls=True,
        ca_file=str(authority),
    )


def test_a_cluster_is_reached_plainly_by_default() -> None:
    options = scylla_options(load_settings({"SCYLLA_HOSTS": "one"}, {}))
    assert options == Options(hosts=(("one", 9042),), keyspace="tradewire")
    assert load_settings({}, {}).node_lease_s == 10


def test_commit_groups_are_as_each_store_has_them_unless_told_otherwise() -> None:
    settings = load_settings({}, {})
    assert settings.commit_group_units is None
    assert settings.commit_groups_in_flight == GROUPS_IN_FLIGHT
    assert load_settings({"COMMIT_GROUP_UNITS": "1000"}, {}).commit_group_units == 1000


def test_a_commit_group_of_a_cluster_is_bounded() -> None:
    environ = {"SCYLLA_HOSTS": "one", "COMMIT_GROUP_UNITS": "513"}
    assert faults_of(environ) == {"COMMIT_GROUP_UNITS": "must be 1 to 512 when STORE=scylla"}
    assert load_settings({**environ, "COMMIT_GROUP_UNITS": "512"}, {}).commit_group_units == 512


@pytest.mark.parametrize("url", ["https://id.example/keys", "http://127.0.0.1:8081/keys"])
def test_a_key_set_is_taken_over_https_or_from_this_machine(url: str) -> None:
    assert load_settings({"JWT_JWKS_URL": url}, {}).jwt_jwks_url == url


@pytest.mark.parametrize("as_file", [True, False])
def test_a_public_key_is_taken_as_pem_or_as_its_path(tmp_path: Path, as_file: bool) -> None:
    pem = pem_of(ec.generate_private_key(ec.SECP256R1()))
    path = tmp_path / "key.pem"
    path.write_text(pem)
    settings = load_settings({"JWT_PUBLIC_KEY": str(path) if as_file else pem.strip()}, {})
    assert settings.jwt_public_key is not None
    assert settings.jwt_public_key.strip() == pem.strip()


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 1024)],
    ids=["P-384", "RSA of 1024 bits"],
)
def test_a_public_key_of_another_kind_is_a_fault(key: Any) -> None:
    assert "neither RSA" in faults_of({"JWT_PUBLIC_KEY": pem_of(key)})["JWT_PUBLIC_KEY"]


def test_the_description_tells_every_setting_and_no_secret() -> None:
    environ = {
        "JWT_SECRET": "not-for-eyes" * 3,
        "JWT_LEEWAY": "2.5",
        "SCYLLA_HOSTS": "one,[::1]:9042",
        "SCYLLA_USERNAME": "chat",
        "SCYLLA_PASSWORD": "not-for-eyes either",
    }
    told = describe(load_settings(environ, {}))
    lines = dict(line.split("=", 1) for line in told.splitlines())
    assert list(lines) == [setting.name for setting in SETTINGS]
    assert "not-for-eyes" not in told
    assert lines["JWT_SECRET"] == lines["SCYLLA_PASSWORD"] == "********"
    assert lines["SCYLLA_HOSTS"] == "one:9042,[::1]:9042"
    assert lines["SCYLLA_USERNAME"] == "chat"
    assert lines["STORE"] == "scylla"
    assert lines["JWT_LEEWAY"] == "2.5"
    assert lines["CATALOG_REQUIRED"] == "false"
    assert lines["JWT_ISSUER"] == ""


def test_the_page_of_settings_is_current() -> None:
    assert (ROOT / "docs/reference/settings.md").read_text() == settings_table(), "run make docs"

"""The settings: one table that is parsed, shown by `tradewire config`, and printed in the docs."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from tradewire.adapters.kafka.options import Options as KafkaOptions
from tradewire.adapters.kafka.options import SaslMechanism, SecurityProtocol
from tradewire.adapters.scylla.options import GROUP_UNITS, MOST_GROUPS_IN_FLIGHT, Options
from tradewire.config import parsing


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The effective settings; `_s` is seconds. What each means stands in `SETTINGS`."""

    host: str
    port: int
    data_dir: Path
    store: Literal["sqlite", "scylla"]
    events: Literal["embedded", "kafka"]
    workers: int
    commit_group_units: int | None
    commit_groups_in_flight: int
    drain_s: float
    service_name: str
    cell_id: str
    scylla_hosts: tuple[tuple[str, int], ...]
    scylla_keyspace: str
    scylla_datacenter: str | None
    scylla_username: str | None
    scylla_password: str | None
    scylla_replication_factor: int
    scylla_tls: bool
    scylla_ca_file: Path | None
    node_lease_s: float
    kafka_brokers: tuple[tuple[str, int], ...]
    kafka_topic_prefix: str
    kafka_replication_factor: int
    kafka_partitions: int
    kafka_linger_ms: int
    kafka_batch_bytes: int
    kafka_security_protocol: SecurityProtocol
    kafka_sasl_mechanism: SaslMechanism | None
    kafka_username: str | None
    kafka_password: str | None
    kafka_ca_file: Path | None
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


SETTINGS = (
    Setting("LISTEN_HOST", "host", "127.0.0.1", str, "", "Address to listen on."),
    Setting(
        "LISTEN_PORT",
        "port",
        "8080",
        parsing.whole(0, 65535),
        "",
        "Port to listen on; 0 takes a free one.",
    ),
    Setting("DATA_DIR", "data_dir", "data", Path, "", "Folder of the embedded store."),
    Setting(
        "STORE",
        "store",
        "sqlite",
        parsing.one_of("sqlite", "scylla"),
        "",
        "Where messages are kept; where SCYLLA_HOSTS is set, scylla is the default.",
    ),
    Setting(
        "EVENTS",
        "events",
        "embedded",
        parsing.one_of("embedded", "kafka"),
        "",
        "Where domain events go and come from; where KAFKA_BROKERS is set, kafka is the default.",
    ),
    Setting(
        "WORKERS",
        "workers",
        "1",
        parsing.whole(1, 1024),
        "processes",
        "Processes that serve on one port, each a node; more than one need ScyllaDB and Kafka.",
    ),
    Setting(
        "COMMIT_GROUP_UNITS",
        "commit_group_units",
        "",
        parsing.whole_or_none(1, 1000),
        "units",
        "Units in a commit group at most. Not set: 1000; on a cluster 512, the most there.",
    ),
    Setting(
        "COMMIT_GROUPS_IN_FLIGHT",
        "commit_groups_in_flight",
        "3",
        parsing.whole(1, MOST_GROUPS_IN_FLIGHT),
        "groups",
        "Commit groups of a node that may be under way at once on a cluster; SQLite has one.",
    ),
    Setting(
        "DRAIN_SECONDS",
        "drain_s",
        "10",
        parsing.seconds(600),
        "s",
        "How long a stopping server spreads the reconnects of its clients.",
    ),
    Setting("SERVICE_NAME", "service_name", "tradewire", parsing.name, "", "Name in the logs."),
    Setting(
        "CELL_ID",
        "cell_id",
        "default",
        parsing.name,
        "",
        "Name of this installation; in `ce_source`.",
    ),
    Setting(
        "SCYLLA_HOSTS",
        "scylla_hosts",
        "",
        parsing.hosts,
        "",
        "Some nodes of the ScyllaDB or Cassandra cluster: `host[:port],…`, port 9042 if not given.",
    ),
    Setting(
        "SCYLLA_KEYSPACE",
        "scylla_keyspace",
        "tradewire",
        parsing.keyspace,
        "",
        "Keyspace of the tables; `tradewire migrate up` makes it.",
    ),
    Setting(
        "SCYLLA_DATACENTER",
        "scylla_datacenter",
        "",
        parsing.text_or_none,
        "",
        "Datacenter whose nodes are asked; not set, those of all.",
    ),
    Setting(
        "SCYLLA_USERNAME",
        "scylla_username",
        "",
        parsing.text_or_none,
        "",
        "Who logs in to the cluster.",
    ),
    Setting(
        "SCYLLA_PASSWORD",
        "scylla_password",
        "",
        parsing.text_or_none,
        "",
        "Password of that user.",
        secret=True,
    ),
    Setting(
        "SCYLLA_REPLICATION_FACTOR",
        "scylla_replication_factor",
        "3",
        parsing.whole(1, 9),
        "copies",
        "Copies in each datacenter, of a keyspace that is made.",
    ),
    Setting(
        "SCYLLA_TLS", "scylla_tls", "false", parsing.flag, "", "Connect to the cluster in TLS."
    ),
    Setting(
        "SCYLLA_CA_FILE",
        "scylla_ca_file",
        "",
        parsing.certificates,
        "",
        "PEM file of the authorities that sign the nodes' certificates; else those of the system.",
    ),
    Setting(
        "NODE_LEASE_SECONDS",
        "node_lease_s",
        "10",
        parsing.seconds(60, least=2),
        "s",
        "How long a node may be silent before another one finishes its work.",
    ),
    Setting(
        "KAFKA_BROKERS",
        "kafka_brokers",
        "",
        parsing.brokers,
        "",
        "Some brokers of the Kafka cluster: `host[:port],…`, port 9092 if not given.",
    ),
    Setting(
        "KAFKA_TOPIC_PREFIX",
        "kafka_topic_prefix",
        "",
        parsing.topic_prefix,
        "",
        "What the names of all topics begin with.",
    ),
    Setting(
        "KAFKA_REPLICATION_FACTOR",
        "kafka_replication_factor",
        "3",
        parsing.whole(1, 9),
        "copies",
        "Copies of topics that are made.",
    ),
    Setting(
        "KAFKA_PARTITIONS",
        "kafka_partitions",
        "12",
        parsing.whole(1, 1000),
        "",
        "Partitions of topics that are made.",
    ),
    Setting(
        "KAFKA_LINGER_MS",
        "kafka_linger_ms",
        "50",
        parsing.whole(0, 1000),
        "ms",
        "How long domain events gather before they are published.",
    ),
    Setting(
        "KAFKA_BATCH_BYTES",
        "kafka_batch_bytes",
        "262144",
        parsing.whole(16_384, 900_000),
        "bytes",
        "Domain events of one partition that are published in one request at most.",
    ),
    Setting(
        "KAFKA_SECURITY_PROTOCOL",
        "kafka_security_protocol",
        "PLAINTEXT",
        parsing.capitals(*get_args(SecurityProtocol)),
        "",
        "How brokers are talked to: SSL is TLS, SASL logs in.",
    ),
    Setting(
        "KAFKA_SASL_MECHANISM",
        "kafka_sasl_mechanism",
        "",
        parsing.capitals("", *get_args(SaslMechanism)),
        "",
        "How to log in to the brokers: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.",
    ),
    Setting(
        "KAFKA_USERNAME", "kafka_username", "", parsing.text_or_none, "", "Who logs in to Kafka."
    ),
    Setting(
        "KAFKA_PASSWORD",
        "kafka_password",
        "",
        parsing.text_or_none,
        "",
        "Password of that user.",
        secret=True,
    ),
    Setting(
        "KAFKA_CA_FILE",
        "kafka_ca_file",
        "",
        parsing.certificates,
        "",
        "PEM file of the authorities that sign the brokers' certificates; else the system's.",
    ),
    Setting(
        "JWT_SECRET",
        "jwt_secret",
        "",
        parsing.secret,
        "",
        "Secret of HS256 tokens, 32 bytes or more; with no key at all one is made on first start.",
        secret=True,
    ),
    Setting(
        "JWT_PUBLIC_KEY",
        "jwt_public_key",
        "",
        parsing.pem,
        "",
        "Public key of RS256, ES256 or EdDSA tokens: PEM, or the path of a PEM file.",
    ),
    Setting(
        "JWT_JWKS_URL",
        "jwt_jwks_url",
        "",
        parsing.key_address,
        "",
        "Address of the key set of tokens.",
    ),
    Setting(
        "JWT_ISSUER",
        "jwt_issuer",
        "",
        parsing.text_or_none,
        "",
        "The `iss` that a token must carry.",
    ),
    Setting(
        "JWT_AUDIENCE",
        "jwt_audience",
        "",
        parsing.text_or_none,
        "",
        "The `aud` that a token must carry.",
    ),
    Setting(
        "JWT_LEEWAY",
        "jwt_leeway_s",
        "5",
        parsing.seconds(300),
        "s",
        "Clock difference that is forgiven.",
    ),
    Setting(
        "MESSAGES_PER_SECOND",
        "messages_per_second",
        "10",
        parsing.whole(0, 1_000_000),
        "1/s",
        "Messages of one user, with a burst of 5 s' worth; 0 is no limit.",
    ),
    Setting(
        "COMMANDS_PER_SECOND",
        "commands_per_second",
        "100",
        parsing.whole(0, 1_000_000),
        "1/s",
        "Commands of one connection; 0 is no limit.",
    ),
    Setting(
        "CONNECTIONS_PER_DEVICE",
        "connections_per_device",
        "1",
        parsing.whole(1, 1000),
        "",
        "Sockets of one device; a newer one replaces the oldest.",
    ),
    Setting(
        "CONNECTIONS_PER_USER",
        "connections_per_user",
        "10",
        parsing.whole(1, 100_000),
        "",
        "Sockets of one user; more are refused.",
    ),
    Setting(
        "CATALOG_REQUIRED",
        "catalog_required",
        "false",
        parsing.flag,
        "",
        "Refuse conversations about products that the catalogue does not know.",
    ),
    Setting(
        "LOG_LEVEL",
        "log_level",
        "info",
        parsing.one_of("debug", "info", "warning", "error"),
        "",
        "Least severity that is logged.",
    ),
    Setting(
        "LOG_FORMAT",
        "log_format",
        "auto",
        parsing.one_of("auto", "json", "text"),
        "",
        "How logs are written; auto is text for a terminal, else json.",
    ),
)

_PAIRED = (("SCYLLA_USERNAME", "SCYLLA_PASSWORD"), ("SCYLLA_PASSWORD", "SCYLLA_USERNAME"))


def load_settings(environ: Mapping[str, str], overrides: Mapping[str, object]) -> Settings:
    """The settings of the environment, replaced by those `overrides` (by field) that are not None.

    Raises:
        SettingsError: with every fault there is.
    """
    given = {setting.name: _given(setting, environ, overrides) for setting in SETTINGS}
    if given["SCYLLA_HOSTS"] and not given["STORE"]:
        given["STORE"] = "scylla"
    if given["KAFKA_BROKERS"] and not given["EVENTS"]:
        given["EVENTS"] = "kafka"
    values: dict[str, Any] = {}
    faults: list[tuple[str, str]] = []
    for setting in SETTINGS:
        try:
            values[setting.name] = setting.parse(given[setting.name] or setting.default)
        except ValueError as error:
            faults.append((setting.name, str(error)))
    faults += _contradictions(values)
    if faults:
        raise SettingsError(faults)
    return Settings(**{setting.field: values[setting.name] for setting in SETTINGS})


def _given(setting: Setting, environ: Mapping[str, str], overrides: Mapping[str, object]) -> str:
    override = overrides.get(setting.field)
    return environ.get(setting.name, "").strip() if override is None else str(override)


def _contradictions(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with values that are each right alone; one that is missing is not judged."""
    if values.get("STORE") == "scylla" and values.get("SCYLLA_HOSTS") == ():
        yield "SCYLLA_HOSTS", "must name nodes of the cluster when STORE=scylla"
    if values.get("WORKERS", 1) > 1 and (values.get("STORE"), values.get("EVENTS")) != (
        "scylla",
        "kafka",
    ):
        yield "WORKERS", "must be 1 unless STORE=scylla and EVENTS=kafka, by which nodes are one"
    if values.get("STORE") == "scylla" and (values.get("COMMIT_GROUP_UNITS") or 1) > GROUP_UNITS:
        yield "COMMIT_GROUP_UNITS", f"must be 1 to {GROUP_UNITS} when STORE=scylla"
    for name, other in _PAIRED:
        if name in values and values[name] is None and values.get(other):
            yield name, f"is not set, but {other} is"
    if values.get("SCYLLA_CA_FILE") and values.get("SCYLLA_TLS") is False:
        yield "SCYLLA_CA_FILE", "is for connections in TLS: set SCYLLA_TLS=true"
    if values.get("EVENTS") == "kafka" and values.get("KAFKA_BROKERS") == ():
        yield "KAFKA_BROKERS", "must name brokers when EVENTS=kafka"
    yield from _kafka_security(values)


def _kafka_security(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    protocol = values.get("KAFKA_SECURITY_PROTOCOL")
    if protocol is None:
        return
    if not protocol.endswith("SSL") and values.get("KAFKA_CA_FILE"):
        yield "KAFKA_CA_FILE", f"is for connections in TLS: KAFKA_SECURITY_PROTOCOL is {protocol}"
    logs_in = protocol.startswith("SASL")
    for name in ("KAFKA_SASL_MECHANISM", "KAFKA_USERNAME", "KAFKA_PASSWORD"):
        if logs_in and name in values and not values[name]:
            yield name, f"must be set when KAFKA_SECURITY_PROTOCOL={protocol}"
        if not logs_in and values.get(name):
            yield name, f"is for logging in: KAFKA_SECURITY_PROTOCOL is {protocol}"


def scylla_options(settings: Settings) -> Options:
    """How the settings say that the cluster is reached."""
    return Options(
        hosts=settings.scylla_hosts,
        keyspace=settings.scylla_keyspace,
        datacenter=settings.scylla_datacenter,
        username=settings.scylla_username,
        password=settings.scylla_password,
        replication_factor=settings.scylla_replication_factor,
        tls=settings.scylla_tls,
        ca_file=str(settings.scylla_ca_file or ""),
    )


def kafka_options(settings: Settings) -> KafkaOptions:
    """How the settings say that Kafka is reached."""
    return KafkaOptions(
        brokers=settings.kafka_brokers,
        topic_prefix=settings.kafka_topic_prefix,
        replication_factor=settings.kafka_replication_factor,
        partitions=settings.kafka_partitions,
        linger_ms=settings.kafka_linger_ms,
        batch_bytes=settings.kafka_batch_bytes,
        security_protocol=settings.kafka_security_protocol,
        sasl_mechanism=settings.kafka_sasl_mechanism,
        username=settings.kafka_username,
        password=settings.kafka_password,
        ca_file=str(settings.kafka_ca_file or ""),
    )


def describe(settings: Settings) -> str:
    """The effective settings, a line each, as `NAME=value`; secrets are masked."""
    return "".join(f"{setting.name}={_shown(setting, settings)}\n" for setting in SETTINGS)


def _shown(setting: Setting, settings: Settings) -> str:
    value = getattr(settings, setting.field)
    if value is None:
        return ""
    if setting.secret:
        return "********"
    if isinstance(value, tuple):
        return ",".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in value
        )
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

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tradewire.config import SETTINGS, SettingsError, describe, load_settings, settings_table

ROOT = Path(__file__).parents[2]


def pem_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    public = key.public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


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
        ("DRAIN_SECONDS", "nan"),
        ("DRAIN_SECONDS", "soon"),
        ("DRAIN_SECONDS", "601"),
        ("CELL_ID", "a b"),
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


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"STORE": "scylla"}, "STORE"),
        ({"EVENTS": "kafka"}, "EVENTS"),
        ({"SCYLLA_HOSTS": "127.0.0.1"}, "SCYLLA_HOSTS"),
        ({"KAFKA_BROKERS": "127.0.0.1:9092"}, "KAFKA_BROKERS"),
    ],
)
def test_engines_to_come_are_refused_clearly(environ: dict[str, str], name: str) -> None:
    assert "not in this version" in faults_of(environ)[name]


def test_an_address_of_an_engine_is_ignored_when_told_otherwise() -> None:
    settings = load_settings({"SCYLLA_HOSTS": "127.0.0.1", "STORE": "sqlite"}, {})
    assert settings.store == "sqlite"


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
    told = describe(load_settings({"JWT_SECRET": "not-for-eyes" * 3, "JWT_LEEWAY": "2.5"}, {}))
    lines = dict(line.split("=", 1) for line in told.splitlines())
    assert list(lines) == [setting.name for setting in SETTINGS]
    assert "not-for-eyes" not in told
    assert lines["JWT_SECRET"] == "********"
    assert lines["JWT_LEEWAY"] == "2.5"
    assert lines["CATALOG_REQUIRED"] == "false"
    assert lines["JWT_ISSUER"] == ""


def test_the_page_of_settings_is_current() -> None:
    assert (ROOT / "docs/reference/settings.md").read_text() == settings_table(), "run make docs"

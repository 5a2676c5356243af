"""docker-compose.yml sets up what it says, as far as can be told without starting it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tradewire.config import SETTINGS, load_settings
from tradewire.testing.engines import versions

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
NODES = sorted(name for name in SERVICES if name.startswith("node-"))
OF_TRADEWIRE = [*NODES, "migrate"]

MUST_BE_GIVEN = re.compile(r"\$\{(\w+):\?[^}]+\}")


def waits_for() -> list[tuple[str, str, str]]:
    """Who waits for whom, and what for."""
    return [
        (name, other, how["condition"])
        for name, service in SERVICES.items()
        for other, how in service.get("depends_on", {}).items()
    ]


def one_shots() -> set[str]:
    return {other for _, other, what in waits_for() if what == "service_completed_successfully"}


def settings_of(name: str) -> dict[str, str]:
    environment: dict[str, str] = SERVICES[name]["environment"]
    return environment


def test_there_are_two_nodes_on_ports_of_their_own() -> None:
    assert NODES == ["node-1", "node-2"]
    ports = [SERVICES[node]["ports"] for node in NODES]
    assert ports == [["127.0.0.1:8081:8080"], ["127.0.0.1:8082:8080"]]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_says_when_it_is_healthy_or_runs_once(name: str) -> None:
    assert (name in one_shots()) != bool(SERVICES[name].get("healthcheck", {}).get("test"))


def test_one_waits_for_services_that_are_there_and_can_become_so() -> None:
    for name, other, what in waits_for():
        assert other in SERVICES, f"{name} waits for {other}"
        assert what in {"service_healthy", "service_completed_successfully"}
        assert (what == "service_healthy") == ("healthcheck" in SERVICES[other])


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    service = SERVICES[name]
    recipe = service.get("build", {}).get("dockerfile_inline", "")
    images = re.findall(r"^FROM (\S+)$", recipe, re.MULTILINE) or [service["image"]]
    for image in images:
        _, _, tag = image.partition(":")
        assert re.match(r"\d+\.\d+", tag), image


def test_engines_are_those_of_the_tests() -> None:
    assert SERVICES["scylla"]["image"] == versions.SCYLLA_IMAGE
    assert SERVICES["kafka"]["image"] == versions.KAFKA_IMAGE


@pytest.mark.parametrize("name", OF_TRADEWIRE)
def test_settings_are_known_and_fit_together(name: str) -> None:
    environment = settings_of(name)
    assert set(environment) <= {setting.name for setting in SETTINGS}
    settings = load_settings({**environment, "JWT_SECRET": "s" * 32}, {})
    assert (settings.store, settings.events) == ("scylla", "kafka")


@pytest.mark.parametrize("name", OF_TRADEWIRE)
def test_secrets_come_from_outside(name: str) -> None:
    environment = settings_of(name)
    given = [setting.name for setting in SETTINGS if setting.secret and setting.name in environment]
    assert "JWT_SECRET" in given
    for secret in given:
        required = MUST_BE_GIVEN.fullmatch(environment[secret])
        assert required is not None
        assert required[1] == secret


@pytest.mark.parametrize("name", OF_TRADEWIRE)
def test_the_image_is_made_of_files_that_are_here(name: str) -> None:
    recipe: str = SERVICES[name]["build"]["dockerfile_inline"]
    lines = re.findall(r"^COPY (.+)$", recipe, re.MULTILINE)
    copied = [source for line in lines for source in line.split()[:-1]]
    assert "requirements.lock" in copied
    assert [source for source in copied if not (ROOT / source).exists()] == []

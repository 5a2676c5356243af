"""What operators and tools ask a node; none of it needs a token."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import openapi_spec_validator
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.http_server import Client, RecordingService, bearer, problem, serving
from tradewire.edge import http_operations
from tradewire.protocol import openapi
from tradewire.protocol.examples import CONVERSATION_ID


class Service(RecordingService):
    """A service whose readiness may be stuck."""

    stuck = False

    async def readiness(self) -> Mapping[str, str | None]:
        if self.stuck:
            await asyncio.Event().wait()
        return self.checks


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Client]:
    async with serving(service) as client:
        yield client


async def test_a_node_that_lives_says_so(client: Client) -> None:
    async with client.get("/healthz") as response:
        assert (response.status, await response.json()) == (200, {"status": "ok"})


async def test_a_node_that_is_ready_says_so(client: Client, service: Service) -> None:
    service.checks = {"store": None, "bus": None}
    async with client.get("/readyz") as response:
        assert response.status == 200
        body = await response.json()
    assert body == {"ready": True, "checks": {"store": "ok", "bus": "ok"}}


async def test_a_node_that_is_not_ready_says_why(client: Client, service: Service) -> None:
    service.checks = {"store": "it does not answer", "bus": None}
    async with client.get("/readyz") as response:
        assert response.status == 503
        body = await response.json()
    assert body == {"ready": False, "checks": {"store": "it does not answer", "bus": "ok"}}


async def test_checks_that_do_not_end_are_not_waited_for(
    client: Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.stuck = True
    monkeypatch.setattr(http_operations, "READY_DEADLINE_S", 0.01)
    async with client.get("/readyz") as response:
        await problem(response, 503, "unavailable")


async def test_requests_are_counted_by_route(client: Client) -> None:
    paths = [f"/v1/conversations/{CONVERSATION_ID}", "/v1/conversations/1", "/made-up"]
    for path in paths:
        async with client.get(path, headers=bearer()) as response:
            await response.read()
    async with client.get("/metrics") as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        families = {
            family.name: family for family in text_string_to_metric_families(await response.text())
        }
    counted = {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
        for sample in families["tradewire_http_requests"].samples
    }
    route = "/v1/conversations/{conversation_id}"
    assert counted == {
        ("GET", route, "200"): 1,
        ("GET", route, "400"): 1,
        ("other", "other", "404"): 1,
    }
    timed = {
        sample.labels["route"]: sample.value
        for sample in families["tradewire_http_seconds"].samples
        if sample.name.endswith("_count")
    }
    assert timed == {route: 2, "other": 1}


async def test_the_interface_describes_itself(client: Client) -> None:
    async with client.get("/openapi.json") as response:
        assert response.status == 200
        document = await response.json()
    openapi_spec_validator.validate(document)
    assert document.keys() == openapi.document().keys()
    assert document["paths"].keys() == openapi.document()["paths"].keys()


async def test_every_address_of_the_document_is_served(client: Client) -> None:
    served = {resource.canonical for resource in client.app.router.resources()}
    assert served == set(openapi.document()["paths"])

"""Devices that act at random, while their connections are cut: what they show must be what is."""

import asyncio
import random
from collections.abc import Callable
from itertools import count

from tests.e2e.harness import SECRET, Server
from tests.fault.devices import Device, Json, differences, doubled, read_afresh
from tests.fault.load import open_direct
from tests.fault.proxy import Proxy
from tradewire.edge.auth import mint

USERS = [f"user{number}" for number in range(5)]
DEVICES = [*USERS, *USERS[:3]]
"""The user of each device: some have two."""
CUTS_PER_ACTION = 0.2
CUT_AT_CLIENT = 0.25
FRAME_BYTES = 400
CONVERGE_S = 30.0


class Flow:
    """Devices that act at random on a server whose connections are cut at random.

    `rest_s`: how long a device rests at most between two actions.

    Attributes:
        actions: what all devices have done.
    """

    def __init__(
        self, proxy: Proxy, seed: int, *, tenant: str = "default", rest_s: float = 0.0
    ) -> None:
        self.cuts = 0
        self.actions = 0
        self.devices = [
            Device(proxy.url, mint(SECRET, user, tenant=tenant), user, random.Random(seed + number))
            for number, user in enumerate(DEVICES)
        ]
        self._proxy = proxy
        self._rest_s = rest_s
        self._rng = random.Random(seed)

    @property
    def told(self) -> str:
        """What was done, in a line."""
        refused = sum(device.refused for device in self.devices)
        rooms = [device.screen.view() for device in self.devices]
        messages = sum(len(room["messages"]) for view in rooms for room in view.values())
        return (
            f"{self.actions} actions ({refused} refused) on {len(self.devices)} devices,"
            f" {sum(map(len, rooms))} conversations and {messages} messages shown at the end"
        )

    async def act(self, is_enough: Callable[[int], bool]) -> None:
        """Let all devices do something, until each has done enough."""
        async with asyncio.TaskGroup() as group:
            for device in self.devices:
                group.create_task(self._act(device, is_enough))

    async def _act(self, device: Device, is_enough: Callable[[int], bool]) -> None:
        for done in count():
            if is_enough(done):
                return
            if self._rng.random() < CUTS_PER_ACTION:
                self._cut()
            await device.act(USERS)
            self.actions += 1
            await asyncio.sleep(self._rng.uniform(0, self._rest_s))

    def _cut(self) -> None:
        self.cuts += 1
        if self._rng.random() < CUT_AT_CLIENT:
            self._rng.choice(self.devices).break_off()
        else:
            self._proxy.cut_one(self._rng, FRAME_BYTES)

    async def converge(self, server: Server) -> list[str]:
        """Wait until all devices show what the server holds; where they do not when time is up."""
        self._proxy.spare()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CONVERGE_S
        while (wrong := await self._wrong(server)) and loop.time() < deadline:
            await asyncio.sleep(0.1)
        return wrong

    async def _wrong(self, server: Server) -> list[str]:
        """Where devices show anything but what the server holds."""
        held = {user: await self._held(server, user) for user in USERS}
        return [line for view in held.values() for line in doubled(view)] + [
            line
            for number, device in enumerate(self.devices)
            for line in differences(
                device.screen.view(), held[device.user], f"device {number} of {device.user}: "
            )
        ]

    async def _held(self, server: Server, user: str) -> Json:
        async with server.http(user) as http:
            return await read_afresh(http)


async def begin(server: Server) -> None:
    """A group of all, and a direct conversation of two."""
    async with server.http(USERS[0]) as http:
        group = {"kind": "group", "title": "all", "member_ids": USERS[1:]}
        await http.request("POST", "/v1/conversations", json=group)
    await open_direct(server, *USERS[1:3])

"""Who is there: told to those who watch, never across a block."""

from collections.abc import Sequence

from tradewire.domain.caller import Caller
from tradewire.domain.commands import GetOnlineStatus, SetOnlineStatus, WatchPresence
from tradewire.domain.errors import InvalidField
from tradewire.domain.events import UserOffline, UserOnline
from tradewire.domain.ids import timestamp
from tradewire.domain.results import StatusesResult
from tradewire.domain.types import Presence as Chosen
from tradewire.domain.types import UserStatus
from tradewire.domain.writes import SetLastSeen
from tradewire.ports import Session
from tradewire.usecases.context import Context, Key


class Presence:
    """The commands on presence, and what coming and going means.

    A user is online while a device is connected, unless they chose to be invisible. What they chose
    holds until they choose again or the node restarts. When they were last seen is known at once,
    and to the store a moment later.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._chosen: dict[Key, Chosen] = {}
        self._shown: dict[Key, Chosen | None] = {}
        self._seen: dict[Key, int] = {}

    async def set(self, caller: Caller, command: SetOnlineStatus) -> StatusesResult:
        """SetOnlineStatus."""
        key = (caller.tenant, caller.user_id)
        status = None if command.status == "online" else command.status
        self.choose(key, status)
        self._context.hub.appears(*key, status)
        await self.refresh(*key)
        own = GetOnlineStatus(user_ids=[caller.user_id])
        return await self.get(caller, own)

    def choose(self, key: Key, status: Chosen | None) -> None:
        """Have a user appear like this from now on; None: as they are."""
        if status is None:
            self._chosen.pop(key, None)
        else:
            self._chosen[key] = status

    async def get(self, caller: Caller, command: GetOnlineStatus) -> StatusesResult:
        """GetOnlineStatus: who is blocked, either way, looks as if never seen."""
        tenant = caller.tenant
        blocked = await self._context.blocks.get((tenant, caller.user_id))
        users = list(dict.fromkeys(command.user_ids))
        shown = await self._statuses(tenant, [user for user in users if user not in blocked])
        return StatusesResult([shown.get(user, UserStatus(user, "offline")) for user in users])

    async def watch(
        self, caller: Caller, command: WatchPresence, session: Session | None
    ) -> StatusesResult:
        """WatchPresence: the statuses now; events follow on the connection."""
        if session is None:
            raise InvalidField("WatchPresence needs a connection.", field="type")
        session.watch(command.user_ids)
        return await self.get(caller, GetOnlineStatus(user_ids=command.user_ids))

    async def refresh(self, tenant: str, user_id: str) -> None:
        """Tell the watchers, and the log, if the user came, went or changed since last told.

        One who comes to a second node, or leaves it, has neither come nor gone.
        """
        key = (tenant, user_id)
        blocked = await self._context.blocks.get(key)
        elsewhere = bool(await self._context.hub.elsewhere(tenant, (user_id,)))
        # From here to the commit nothing waits, so comings and goings are told in their order.
        here = self._context.hub.connected(tenant, user_id)
        comes_or_goes = here != (key in self._shown)
        before, now = self._shown.pop(key, None), self._current(key, elsewhere=elsewhere)
        if here:
            self._shown[key] = now
        if before == now or (elsewhere and comes_or_goes):
            return
        at = self._context.clock.now_ms()
        event = (
            UserOffline(user_id=user_id, last_seen=timestamp(at))
            if now is None
            else UserOnline(user_id=user_id, status=now)
        )
        self._context.hub.tell_watchers(tenant, user_id, event, blocked)
        if before is None or now is None:
            self._seen[key] = at
            await self._record(key, now is not None, at)

    async def appearance(
        self, tenant: str, user_id: str
    ) -> tuple[UserOnline | UserOffline, frozenset[str]]:
        """How a user appears now, and the users who must not see it."""
        blocked = await self._context.blocks.get((tenant, user_id))
        shown = (await self._statuses(tenant, [user_id]))[user_id]
        if shown.status == "offline":
            return UserOffline(user_id=user_id, last_seen=shown.last_seen), blocked
        return UserOnline(user_id=user_id, status=shown.status), blocked

    async def _record(self, key: Key, online: bool, at: int) -> None:
        try:
            await self._context.commit(
                SetLastSeen(
                    tenant=key[0],
                    event_id=self._context.clock.next_id(),
                    user_id=key[1],
                    online=online,
                    last_seen=at,
                )
            )
        finally:
            if self._seen.get(key) == at:
                del self._seen[key]

    def _current(self, key: Key, *, elsewhere: bool) -> Chosen | None:
        """How the user appears now; None: not there."""
        chosen = self._chosen.get(key, "online")
        if chosen == "invisible" or not (elsewhere or self._context.hub.connected(*key)):
            return None
        return chosen

    async def _statuses(self, tenant: str, user_ids: Sequence[str]) -> dict[str, UserStatus]:
        """How users appear now, by id."""
        seen = await self._context.store.people.last_seen(tenant, user_ids)
        elsewhere = await self._context.hub.elsewhere(tenant, user_ids)
        return {
            user: self._status(tenant, user, seen.get(user), elsewhere=user in elsewhere)
            for user in user_ids
        }

    def _status(
        self, tenant: str, user_id: str, seen: int | None, *, elsewhere: bool
    ) -> UserStatus:
        current = self._current((tenant, user_id), elsewhere=elsewhere)
        if current is not None and current != "invisible":
            return UserStatus(user_id, current)
        seen = self._seen.get((tenant, user_id), seen)
        return UserStatus(user_id, "offline", timestamp(seen) if seen is not None else None)

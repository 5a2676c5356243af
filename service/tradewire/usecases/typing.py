"""Who is typing: kept in memory, for 5 s."""

from collections.abc import Iterable

from tradewire.domain.caller import Caller
from tradewire.domain.commands import GetTypingIndicators, SetTypingIndicator
from tradewire.domain.events import Event, TypingStarted, TypingStopped
from tradewire.domain.limits import RECEIPT_MEMBERS, TYPING_MS
from tradewire.domain.results import Nothing, TypingResult
from tradewire.ports import Access
from tradewire.usecases.context import Context, Key

Indicators = dict[Key, dict[str, int]]
"""By conversation and user: until when, in ms since 1970."""


class Typing:
    """The commands on typing. An indicator that is not renewed ends by itself at `expire`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._until: Indicators = {}
        self._elsewhere: Indicators = {}

    async def set(self, caller: Caller, command: SetTypingIndicator) -> Nothing:
        """SetTypingIndicator: for members who may send, and not blocked by the one who hears."""
        access = await self._context.allow(caller, command.conversation_id, "send")
        if len(access.roles) > RECEIPT_MEMBERS:
            return Nothing()
        key = (caller.tenant, command.conversation_id)
        audience = await self._audience(caller, access)
        if command.typing:
            now = self._context.clock.now_ms()
            self._until.setdefault(key, {})[caller.user_id] = now + TYPING_MS
            started = TypingStarted(conversation_id=command.conversation_id, user_id=caller.user_id)
            self._context.hub.publish(caller.tenant, audience, started)
        elif _forget(self._until, key, caller.user_id):
            self._publish_stop(key, caller.user_id, audience)
        return Nothing()

    async def get(self, caller: Caller, command: GetTypingIndicators) -> TypingResult:
        """GetTypingIndicators: without those between whom and the caller a block stands."""
        await self._context.allow(caller, command.conversation_id, "read")
        blocked = await self._context.blocks.get((caller.tenant, caller.user_id))
        now = self._context.clock.now_ms()
        key = (caller.tenant, command.conversation_id)
        typing = {**self._elsewhere.get(key, {}), **self._until.get(key, {})}
        return TypingResult(
            [user for user, until in typing.items() if until > now and user not in blocked]
        )

    def stop(self, tenant: str, access: Access, user_id: str) -> None:
        """A message was sent: whoever sent it is not typing any more."""
        if not self._until:
            return
        key = (tenant, access.conversation.conversation_id)
        if _forget(self._until, key, user_id):
            blocked = self._context.blocks.peek((tenant, user_id)) or frozenset()
            self._publish_stop(key, user_id, _others(access, user_id, blocked))

    def hear(self, tenant: str, event: Event) -> None:
        """Remember who types on another node, where its end is told from as well."""
        if isinstance(event, TypingStarted):
            until = self._context.clock.now_ms() + TYPING_MS
            self._elsewhere.setdefault((tenant, event.conversation_id), {})[event.user_id] = until
        elif isinstance(event, TypingStopped):
            _forget(self._elsewhere, (tenant, event.conversation_id), event.user_id)

    async def expire(self) -> None:
        """End the indicators whose time is over; to be called every now and then."""
        now = self._context.clock.now_ms()
        for key, user_id in _over(self._elsewhere, now):
            _forget(self._elsewhere, key, user_id)
        for key, user_id in _over(self._until, now):
            _forget(self._until, key, user_id)
            access = await self._context.access.get(key)
            if access is not None:
                blocked = await self._context.blocks.get((key[0], user_id))
                self._publish_stop(key, user_id, _others(access, user_id, blocked))

    async def _audience(self, caller: Caller, access: Access) -> list[str]:
        blocked = await self._context.blocks.get((caller.tenant, caller.user_id))
        return _others(access, caller.user_id, blocked)

    def _publish_stop(self, key: Key, user_id: str, audience: Iterable[str]) -> None:
        event = TypingStopped(conversation_id=key[1], user_id=user_id)
        self._context.hub.publish(key[0], audience, event)


def _forget(indicators: Indicators, key: Key, user_id: str) -> bool:
    typing = indicators.get(key)
    if typing is None or typing.pop(user_id, None) is None:
        return False
    if not typing:
        del indicators[key]
    return True


def _over(indicators: Indicators, now: int) -> list[tuple[Key, str]]:
    """Those whose time is over."""
    return [
        (key, user_id)
        for key, typing in indicators.items()
        for user_id, until in typing.items()
        if until <= now
    ]


def _others(access: Access, user_id: str, blocked: frozenset[str]) -> list[str]:
    return [user for user in access.roles if user != user_id and user not in blocked]

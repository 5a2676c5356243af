"""Whether a caller is still welcome, and the command that takes a token its power."""

import asyncio

from tradewire.domain.caller import Caller
from tradewire.domain.commands import Revoke
from tradewire.domain.errors import Blocked, Forbidden, InvalidField, Unauthenticated
from tradewire.domain.ids import id_ms
from tradewire.domain.results import Nothing
from tradewire.domain.writes import Revoke as RevokeWrite
from tradewire.ports import Refusal
from tradewire.usecases.context import Context
from tradewire.usecases.refusals import take_effect

REVOKERS = frozenset({"admin", "service"})


class Standing:
    """Checks callers whose token is right, and revokes tokens."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def check(self, caller: Caller) -> None:
        """Raise unless the caller may come in, and stay.

        Raises:
            Unauthenticated: the token was revoked, or all that the user had then.
            Blocked: the user is blocked on the platform.
        """
        context, user = self._context, (caller.tenant, caller.user_id)
        revoked_at = await context.revocations.get(user)
        if revoked_at is not None and caller.issued_at * 1000 < revoked_at:
            raise Unauthenticated("The token was revoked.")
        if caller.token_id is not None:
            token = (caller.tenant, caller.token_id)
            if await context.revoked_tokens.get(token):
                raise Unauthenticated("The token was revoked.")
        suspension = await context.suspensions.get(user)
        if suspension is not None and suspension.holds(context.clock.now_ms()):
            raise Blocked("This user is blocked on the platform.")

    async def revoke(self, caller: Caller, command: Revoke) -> Nothing:
        """Revoke: returns when tokens that the user gets from then on are accepted."""
        if not caller.roles & REVOKERS:
            raise Forbidden
        if (command.user_id is None) == (command.token_id is None):
            raise InvalidField("Give one of user_id and token_id.", field="user_id")
        context, change_id = self._context, self._context.clock.next_id()
        refusal = Refusal(change_id, caller.tenant, command.user_id, command.token_id)
        write = RevokeWrite(
            tenant=caller.tenant,
            change_id=change_id,
            user_id=command.user_id,
            token_id=command.token_id,
        )
        await context.commit(write, committed=lambda _: take_effect(context, refusal))
        if command.user_id is not None:
            await self._until_next_second(id_ms(change_id))
        return Nothing()

    async def _until_next_second(self, at: int) -> None:
        """Wait until the second of this time, in ms since 1970, is over: most issuers put down no
        more than the second, so a token of this one counts as older, and is refused.
        """
        left = at + -at % 1_000 - self._context.clock.now_ms()
        # At most a second, though the clock may be far behind the time of an id.
        await asyncio.sleep(min(max(left, 0), 1_000) / 1_000)

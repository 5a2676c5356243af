"""Who is in a group or channel."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import structs

from tradewire.domain import limits, policy
from tradewire.domain.caller import Caller
from tradewire.domain.commands import AddMembers, GetMembers, RemoveMember, SetMemberRole
from tradewire.domain.errors import Blocked, Conflict, Forbidden, InvalidField, NotFound
from tradewire.domain.events import MemberAdded, MemberRemoved, MemberRoleChanged
from tradewire.domain.ids import id_ms, timestamp
from tradewire.domain.results import MembersResult
from tradewire.domain.types import SYSTEM, Member, Role
from tradewire.domain.writes import AddMember, SetRole
from tradewire.domain.writes import RemoveMember as RemoveMemberWrite
from tradewire.ports import Access
from tradewire.usecases.context import Context


class Members:
    """The commands on members."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def get(self, caller: Caller, command: GetMembers) -> MembersResult:
        """GetMembers: the cursor is the last user id of the page before."""
        await self._context.allow(caller, command.conversation_id, "read")
        found = await self._context.store.conversations.members(
            caller.tenant, command.conversation_id, command.cursor or "", command.limit + 1
        )
        page = found[: command.limit]
        more = len(found) > command.limit
        return MembersResult(page, page[-1].user_id if more else None)

    async def add(self, caller: Caller, command: AddMembers) -> MembersResult:
        """AddMembers: who is a member already stays as they are."""
        access = await self._context.allow(caller, command.conversation_id, "add_members")
        new = [user for user in dict.fromkeys(command.user_ids) if user not in access.roles]
        await self._check_new(caller, access, new)
        writes = [self._addition(caller, command.conversation_id, user) for user in new]
        if writes:
            await self._context.commit(
                *writes, committed=lambda results: self._tell_added(access, writes, results)
            )
        return await self._named(caller, command.conversation_id, command.user_ids)

    async def remove(self, caller: Caller, command: RemoveMember) -> MembersResult:
        """RemoveMember: a moderator removes members, an admin moderators too, an owner all."""
        conversation_id, user_id = command.conversation_id, command.user_id
        access = await self._context.allow(caller, conversation_id, "read")
        target = access.roles.get(user_id)
        if user_id != caller.user_id:
            role = access.roles.get(caller.user_id)
            policy.require_removal(caller, access.conversation, role, target or "member")
        elif access.conversation.kind == "direct":
            raise Forbidden("A direct conversation keeps its two members.")
        if target is None:
            raise NotFound("This user is no member.", field="user_id")
        _check_owner_stays(access, user_id, leaving=True)
        change_id = self._context.clock.next_id()

        def committed(results: Sequence[Any]) -> None:
            if results[0]:
                event = MemberRemoved(
                    change_id=str(change_id), conversation_id=conversation_id, user_id=user_id
                )
                self._tell(caller.tenant, access, event, change_id, {user_id: None})

        await self._context.commit(
            RemoveMemberWrite(
                tenant=caller.tenant,
                conversation_id=conversation_id,
                change_id=change_id,
                user_id=user_id,
            ),
            committed=committed,
        )
        return MembersResult([])

    async def set_role(self, caller: Caller, command: SetMemberRole) -> MembersResult:
        """SetMemberRole: the last owner stays one."""
        conversation_id, user_id = command.conversation_id, command.user_id
        access = await self._context.allow(caller, conversation_id, "set_roles")
        if user_id not in access.roles:
            raise NotFound("This user is no member.", field="user_id")
        if command.role != "owner":
            _check_owner_stays(access, user_id, leaving=False)
        change_id = self._context.clock.next_id()

        def committed(results: Sequence[Any]) -> None:
            if results[0]:
                event = MemberRoleChanged(
                    change_id=str(change_id),
                    conversation_id=conversation_id,
                    user_id=user_id,
                    role=command.role,
                )
                self._tell(caller.tenant, access, event, change_id, {user_id: command.role})

        await self._context.commit(
            SetRole(
                tenant=caller.tenant,
                conversation_id=conversation_id,
                change_id=change_id,
                user_id=user_id,
                role=command.role,
            ),
            committed=committed,
        )
        return await self._named(caller, conversation_id, [user_id])

    async def _check_new(self, caller: Caller, access: Access, new: Sequence[str]) -> None:
        if SYSTEM in new:
            raise InvalidField(f"{SYSTEM} is no user.", field="user_ids")
        if (
            access.conversation.kind == "group"
            and len(access.roles) + len(new) > limits.MEMBERS_PER_GROUP
        ):
            message = f"A group has at most {limits.MEMBERS_PER_GROUP} members."
            raise InvalidField(message, field="user_ids")
        blocked = await self._context.blocks.get((caller.tenant, caller.user_id))
        if not blocked.isdisjoint(new):
            raise Blocked(field="user_ids")

    def _addition(self, caller: Caller, conversation_id: str, user_id: str) -> AddMember:
        change_id = self._context.clock.next_id()
        return AddMember(
            tenant=caller.tenant,
            conversation_id=conversation_id,
            change_id=change_id,
            # What was said before somebody joins is not unread to them.
            member=Member(
                user_id=user_id,
                role="member",
                joined_at=timestamp(id_ms(change_id)),
                last_read_id=str(change_id),
                last_delivered_id=str(change_id),
            ),
        )

    def _tell_added(
        self, access: Access, writes: Sequence[AddMember], results: Sequence[bool]
    ) -> None:
        added = [write for write, new in zip(writes, results, strict=True) if new]
        joined = {write.member.user_id: write.member.role for write in added}
        for write in added:
            event = MemberAdded(
                change_id=str(write.change_id),
                conversation_id=write.conversation_id,
                user_id=write.member.user_id,
                member=write.member,
            )
            self._tell(write.tenant, access, event, write.change_id, joined)

    def _tell(
        self,
        tenant: str,
        access: Access,
        event: MemberAdded | MemberRemoved | MemberRoleChanged,
        change_id: int,
        changed: Mapping[str, Role | None],
    ) -> None:
        """Renew what is cached of the members, and tell those before and after the change.

        `changed`: the new role of each user, None for one who left.
        """
        present = self._context.present_access(tenant, access)
        told = {**present.roles, **changed}
        roles = {user: role for user, role in told.items() if role is not None}
        conversation = structs.replace(present.conversation, member_count=len(roles))
        self._context.access.put((tenant, event.conversation_id), Access(conversation, roles))
        self._context.hub.publish(tenant, told, event, event_id=change_id)

    async def _named(
        self, caller: Caller, conversation_id: str, user_ids: Sequence[str]
    ) -> MembersResult:
        reads = self._context.store.conversations
        named = list(dict.fromkeys(user_ids))
        members = await reads.members_named(caller.tenant, conversation_id, named)
        found = {member.user_id: member for member in members}
        return MembersResult([found[user_id] for user_id in named if user_id in found])


def _check_owner_stays(access: Access, user_id: str, *, leaving: bool) -> None:
    """Raise Conflict if the only owner would go while others remain."""
    if access.roles[user_id] != "owner" or (leaving and len(access.roles) == 1):
        return
    if sum(role == "owner" for role in access.roles.values()) == 1:
        raise Conflict("Make another member the owner first.", field="user_id")

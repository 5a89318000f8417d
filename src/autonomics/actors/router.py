"""The router: knows every tenant, finds its actors, and keeps what has no tenant yet.

It is the only writer of `tenant` and `entitlement` leaves in the platform's log, and its state is
the fold of that log.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from autonomics.actors.answer import answer
from autonomics.actors.holding import (
    QUOTA_TYPE,
    TENANT_TYPE,
    Holding,
    Holdings,
    quota_payload,
    tenant_payload,
)
from autonomics.actors.ledger_message import ReadLog
from autonomics.actors.message import PLATFORM, Inbound, Parked, TenantView, Unplaced
from autonomics.actors.parking import Parking, inbound_of, parked_entry, unparked_entry
from autonomics.actors.receipt_view import view_receipt
from autonomics.actors.received import received_entry
from autonomics.actors.router_message import (
    Admit,
    ChangeTenant,
    CreateTenant,
    Dismiss,
    FindTenant,
    HoldingChanged,
    ListQuarantined,
    ListTenants,
    Locate,
    Park,
    ReadHolding,
    SetQuota,
    TellUsage,
    WatchHolding,
    tenant_actor,
)
from autonomics.actors.source import Source
from autonomics.actors.writer_message import Append
from autonomics.errors import (
    CallFailed,
    InvalidInput,
    InvalidSignal,
    LedgerError,
    NoSuchTenant,
    TenantUnavailable,
)
from autonomics.receipts.entry import Entry
from autonomics.receipts.log import Receipt
from autonomics.runtime import Actor, Address, Call, Continue, Down, MailboxSpec, ReplyTo
from autonomics.telemetry import declare, emit
from autonomics.tenancy import Tenant, TenantEvent, TenantState
from autonomics.tenancy.price_plans import price_plan_named

PAGE = 512
RESUME_AFTER_S = 60.0
VERBS = {
    "suspend": TenantEvent.SUSPEND,
    "resume": TenantEvent.REACTIVATE,
    "close": TenantEvent.CLOSE,
}

declare(
    "tenant.unknown",
    "Messages for a tenant that nobody has created are parked; said once per tenant.",
    tenant="id that the messages name",
    command="what creates it and replays them",
)
declare(
    "tenant.wakes_late",
    "A tenant could not be started when the platform was.",
    tenant="handle",
    reason="why",
)
declare("tenant.created", "A tenant was created.", tenant="id", handle="handle", by="who")
declare("tenant.changed", "A tenant's state changed.", tenant="id", state="new state", by="who")


class Router(Actor):
    """Answers who a tenant is, creates and changes tenants, parks and replays."""

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=100_000)

    def __init__(
        self,
        *,
        origin: str,
        ledger: Address,
        platform: Address,
        warden: Address,
        source: Source,
        parking: Parking,
    ) -> None:
        self._origin = origin
        self._ledger = ledger
        self._platform = platform
        self._warden = warden
        self._source = source
        self._parking = parking
        self._holdings = Holdings()
        self._watchers: dict[str, list[Address]] = {}
        self._named: set[str] = set()

    async def init(self) -> Continue:
        """Fold the platform's log; whoever starts behind the router finds every tenant."""
        start = 0
        while page := await self._ledger.call(ReadLog(self._origin, start, PAGE)):
            for receipt in page:
                self._fold(receipt)
            start += len(page)
        return Continue("wake")

    async def handle_continue(self, message: object) -> None:
        """Wake the tenants: what a crash left undecided is decided now, not at the next message."""
        for holding in list(self._holdings.by_id.values()):
            if holding.tenant.state is TenantState.CLOSED:
                continue
            try:
                await self._warden.call(Admit(holding.tenant.handle))
                await self._replay(holding)
            except (CallFailed, LedgerError, TenantUnavailable) as error:
                # The warden admits it again by rule; the others don't wait for that.
                emit("tenant.wakes_late", tenant=holding.tenant.handle, reason=str(error))

    def describe(self) -> object:
        """Show counts."""
        return {"tenants": len(self._holdings.by_id), "parked": len(self._parking)}

    async def handle_call(self, message: Call[Any], reply_to: ReplyTo) -> object:
        """Answer."""
        match message:
            case Locate(tenant_id):
                question: Awaitable[object] = self._locate(tenant_id)
            case ReadHolding(handle):
                question = self._read(handle)
            case FindTenant(tenant_id):
                question = self._find(tenant_id)
            case ListTenants():
                question = self._list()
            case CreateTenant():
                question = self._create(message)
            case ChangeTenant():
                question = self._change(message)
            case SetQuota():
                question = self._set_quota(message)
            case Park(unplaced):
                question = self._park(unplaced)
            case _:
                raise TypeError(f"expected a question about tenants, got {message!r}")
        return await answer(reply_to, question)

    async def handle_cast(self, message: object) -> None:
        """Take a watcher of one tenant."""
        match message:
            case WatchHolding(handle, watcher):
                watcher.monitor(("watcher", handle))
                self._watchers.setdefault(handle, []).append(watcher)
                watcher.cast(HoldingChanged(self._holdings.by_handle[handle]))
            case _:
                raise TypeError(f"expected a watcher, got {message!r}")

    async def handle_info(self, message: object) -> None:
        """Forget dead watchers."""
        match message:
            case Down(tag=("watcher", str(handle)), ref=ref):
                rest = [watcher for watcher in self._watchers.get(handle, ()) if watcher != ref]
                self._watchers[handle] = rest
            case _:
                pass

    # Finding

    async def _locate(self, tenant_id: str) -> Holding:
        holding = self._holdings.by_id.get(tenant_id)
        if holding is None:
            raise NoSuchTenant(f"nobody has created tenant {tenant_id!r}")
        if holding.tenant.state is TenantState.CLOSED:
            raise TenantUnavailable(f"tenant {tenant_id!r} is closed", RESUME_AFTER_S)
        handle = holding.tenant.handle
        if not self.runtime.named(tenant_actor(handle, "receipt_writer")).is_alive():
            await self._warden.call(Admit(handle))
        return holding

    async def _read(self, handle: str) -> Holding:
        return self._holdings.by_handle[handle]

    async def _find(self, tenant_id: str) -> TenantView | None:
        holding = self._holdings.by_id.get(tenant_id) or self._holdings.by_handle.get(tenant_id)
        if holding is None:
            return None
        out = await self._warden.call(ListQuarantined())
        handle = holding.tenant.handle
        try:
            used = await self.runtime.named(tenant_actor(handle, "governor")).call(TellUsage())
        except CallFailed:
            used = None
        return holding.view(quarantined=handle in out, used=used)

    async def _list(self) -> tuple[TenantView, ...]:
        out = await self._warden.call(ListQuarantined())
        return tuple(
            holding.view(quarantined=holding.tenant.handle in out)
            for holding in self._holdings.by_id.values()
        )

    # Changing

    async def _create(self, message: CreateTenant) -> tuple[TenantView, int]:
        plan = price_plan_named(message.price_plan)
        if message.tenant_id in self._holdings.by_id:
            raise InvalidInput.expected("tenant id", "one that is not taken", message.tenant_id)
        quotas = plan.opening_quotas()
        for name, limit in message.limits.items():
            if name not in quotas:
                raise InvalidInput.expected("quota", f"one of {sorted(quotas)}", name)
            quotas[name].restore_to(limit)
        tenant = Tenant(
            id=message.tenant_id,
            handle=self._source.random_bytes(8).hex(),
            display_name=message.name or message.tenant_id,
            state=TenantState.ACTIVE,
        )
        payload = tenant_payload("created", tenant, plan.id, message.by, message.limits)
        holding = await self._append(self._entry("tenant", TENANT_TYPE, payload))
        emit("tenant.created", tenant=tenant.id, handle=tenant.handle, by=message.by)
        self._named.discard(tenant.id)
        return holding.view(), await self._replay(holding)

    async def _change(self, message: ChangeTenant) -> TenantView:
        event = VERBS.get(message.verb)
        holding = self._holdings.by_id.get(message.tenant_id)
        if event is None:
            raise InvalidInput.expected("verb", f"one of {sorted(VERBS)}", message.verb)
        if holding is None:
            raise NoSuchTenant(f"nobody has created tenant {message.tenant_id!r}")
        tenant = holding.tenant.after(event)
        payload = tenant_payload(event.value, tenant, holding.price_plan, message.by)
        changed = await self._append(self._entry("tenant", TENANT_TYPE, payload))
        emit("tenant.changed", tenant=tenant.id, state=tenant.state.value, by=message.by)
        if tenant.state is TenantState.CLOSED:
            await self._warden.call(Dismiss(tenant.handle))
        return changed.view()

    async def _set_quota(self, message: SetQuota) -> Holding:
        holding = self._holdings.by_handle[message.handle]
        quota = holding.quotas.get(message.quota)
        if quota is None:
            raise InvalidInput.expected("quota", f"one of {sorted(holding.quotas)}", message.quota)
        move: Callable[[int], object] = quota.restore_to if message.restore else quota.raise_to
        move(message.limit)  # refuses what the plan's ceiling forbids
        payload = quota_payload(
            "quota_restored" if message.restore else "quota_raised",
            message.handle,
            message.quota,
            (quota.limit, message.limit),
            message.action_id,
        )
        return await self._append(
            self._entry("entitlement", QUOTA_TYPE, payload, idem=f"quota:{message.action_id}")
        )

    async def _append(self, entry: Entry) -> Holding:
        """Make a change durable, fold it in, and tell those who watch the tenant."""
        appended = await self._platform.call(Append((entry,)))
        holding = self._fold(appended.receipts[0])
        assert holding is not None, "the router's own leaves change a holding"
        for watcher in self._watchers.get(holding.tenant.handle, ()):
            watcher.cast(HoldingChanged(holding))
        return holding

    def _entry(
        self, kind: str, payload_type: str, payload: bytes, idem: str | None = None
    ) -> Entry:
        return Entry(
            kind=kind, actor=self.path, payload=payload, payload_type=payload_type, idem=idem
        )

    def _fold(self, receipt: Receipt) -> Holding | None:
        self._parking.apply(receipt)
        return self._holdings.apply(receipt)

    # Parking

    async def _park(self, unplaced: Unplaced) -> Parked:
        self._parking.check_room(unplaced)
        appended = await self._platform.call(Append((parked_entry(unplaced, self.path),)))
        receipt = appended.receipts[0]
        if not appended.duplicate:
            self._fold(receipt)
            self._name_once(unplaced)
        return Parked(view_receipt(PLATFORM, receipt), appended.duplicate)

    def _name_once(self, unplaced: Unplaced) -> None:
        tenant_id = unplaced.tenant_id
        if unplaced.reason == "unknown_tenant" and tenant_id and tenant_id not in self._named:
            self._named.add(tenant_id)
            command = f"autonomics tenants create {tenant_id}"
            emit("tenant.unknown", tenant=tenant_id, command=command)

    async def _replay(self, holding: Holding) -> int:
        """Hand parked messages to their tenant, in order; a crash in between repeats none twice."""
        seqs = self._parking.waiting_for(holding.tenant.id)
        if not seqs:
            return 0
        await self._warden.call(Admit(holding.tenant.handle))
        writer = self.runtime.named(tenant_actor(holding.tenant.handle, "receipt_writer"))
        replayed: list[int] = []
        for seq in seqs:
            found = await self._ledger.call(ReadLog(self._origin, seq, 1))
            inbound = inbound_of(found[0])
            if inbound is not None and await self._hand_over(writer, inbound):
                replayed.append(seq)
        if replayed:
            entry = unparked_entry(holding.tenant.id, tuple(replayed), self.path)
            appended = await self._platform.call(Append((entry,)))
            self._fold(appended.receipts[0])
        return len(replayed)

    async def _hand_over(self, writer: Address, inbound: Inbound) -> bool:
        """Append to the tenant's log; False for what is no signal, which stays parked."""
        try:
            entry = received_entry(inbound, self.path)
        except InvalidSignal:
            return False
        await writer.call(Append((entry,)))
        return True

"""The router: knows every tenant, finds its actors, and keeps what has no tenant yet.

It is the only writer of `tenant` and `entitlement` leaves in the platform's log, and its state is
the fold of that log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

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
from autonomics.actors.message import (
    PLATFORM,
    EntitlementView,
    Parked,
    QuotaView,
    SignedUp,
    TenantView,
    Unplaced,
)
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
    RouterQuestion,
    SetQuota,
    SignUp,
    TellEntitlement,
    TellPricePlan,
    TellUsage,
    WardenQuestion,
    WatchHolding,
    tenant_actor,
)
from autonomics.actors.source import Source
from autonomics.actors.writer_message import Append, Appended
from autonomics.errors import (
    CallFailed,
    InvalidInput,
    InvalidSignal,
    LedgerError,
    NoSuchTenant,
    TenantRefused,
    TenantUnavailable,
)
from autonomics.receipts.entry import Entry
from autonomics.receipts.log import Receipt
from autonomics.runtime import (
    Actor,
    Address,
    AnswersCall,
    Continue,
    Down,
    MailboxSpec,
    ReplyTo,
)
from autonomics.telemetry import declare, emit
from autonomics.tenancy import Tenant, TenantEvent, TenantState
from autonomics.tenancy.price_plans import price_plan_named
from autonomics.tenancy.sign_up import Account

PAGE = 512
RESUME_AFTER_S = 60.0
RETRY_S = 0.5
REPLAYED_AT_ONCE = 256
SIGN_UP_PLAN = "evaluation"
MARKETPLACE = "marketplace"
VERBS = {
    "activate": TenantEvent.ACTIVATE,
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
    "A tenant can't be started, or be given what was parked for it; it is tried again.",
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
        ledger: Address[AnswersCall[ReadLog]],
        platform: Address[AnswersCall[Append]],
        warden: Address[AnswersCall[WardenQuestion]],
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
        self._no_signal: set[int] = set()
        self._next_seq = 0
        self._is_current = False

    async def init(self) -> Continue:
        """Return at once: a store that is away must not spend the supervisor's patience."""
        return Continue("wake_all")

    async def handle_continue(self, message: object) -> None:
        """Fold the platform's log, ahead of the first question; then wake the tenants."""
        await self._wake_all()

    async def _wake_all(self) -> None:
        """Have what a crash left undecided decided now, not at the next message."""
        try:
            await self._catch_up()
        except (CallFailed, LedgerError):
            self.send_after(RETRY_S, "wake_all")
            return
        for tenant_id in self._holdings.by_id:
            self.send_after(0.0, ("wake", tenant_id))

    async def _wake(self, tenant_id: str) -> None:
        holding = self._holdings.by_id[tenant_id]
        if holding.tenant.state is TenantState.CLOSED:
            return
        try:
            await self._warden.call(Admit(holding.tenant.handle))
            await self._replay(holding)
        except (CallFailed, LedgerError, TenantUnavailable) as error:
            self._wake_later(holding, error)

    def _wake_later(self, holding: Holding, error: Exception) -> None:
        """Try again; the others don't wait for that."""
        emit("tenant.wakes_late", tenant=holding.tenant.handle, reason=str(error))
        self.send_after(RETRY_S, ("wake", holding.tenant.id))

    async def _catch_up(self) -> None:
        """Fold what the platform's log holds and we have not seen."""
        while page := await self._ledger.call(ReadLog(self._origin, self._next_seq, PAGE)):
            for receipt in page:
                self._fold(receipt)
        self._is_current = True
        for handle in self._watchers:
            self._tell_watchers(handle)

    def describe(self) -> object:
        """Show counts."""
        return {"tenants": len(self._holdings.by_id), "parked": len(self._parking)}

    async def handle_call(self, message: RouterQuestion, reply_to: ReplyTo) -> object:
        """Answer."""
        return await answer(reply_to, self._reply(message))

    async def _reply(self, message: RouterQuestion) -> object:
        if not self._is_current:
            await self._catch_up()
        match message:
            case Locate(tenant_id):
                return await self._locate(tenant_id)
            case ReadHolding(handle):
                return self._holdings.by_handle[handle]
            case FindTenant(tenant_id):
                return await self._find(tenant_id)
            case TellPricePlan(tenant_id):
                return self._known(tenant_id).price_plan
            case TellEntitlement(tenant_id):
                return await self._tell_entitlement(self._known(tenant_id))
            case ListTenants():
                return await self._list()
            case _:
                return await self._carry_out(message)

    async def _carry_out(self, message: RouterQuestion) -> object:
        match message:
            case CreateTenant():
                return await self._create(message)
            case SignUp(account):
                return await self._sign_up(account)
            case ChangeTenant():
                return await self._change(message)
            case SetQuota():
                return await self._set_quota(message)
            case Park(unplaced):
                return await self._park(unplaced)
            case _:
                raise TypeError(f"expected a question about tenants, got {message!r}")

    async def handle_cast(self, message: WatchHolding) -> None:
        """Take a watcher of one tenant."""
        match message:
            case WatchHolding(handle, watcher):
                watcher.monitor(("watcher", handle))
                self._watchers.setdefault(handle, []).append(watcher)
                self._tell_watchers(handle)
            case _:
                raise TypeError(f"expected a watcher, got {message!r}")

    async def handle_info(self, message: object) -> None:
        """Forget dead watchers; wake tenants."""
        match message:
            case "wake_all":
                await self._wake_all()
            case ("wake", str(tenant_id)):
                await self._wake(tenant_id)
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

    def _known(self, tenant_id: str) -> Holding:
        holding = self._holdings.by_id.get(tenant_id) or self._holdings.by_handle.get(tenant_id)
        if holding is None:
            raise NoSuchTenant(f"nobody has created tenant {tenant_id!r}")
        return holding

    async def _find(self, tenant_id: str) -> TenantView | None:
        holding = self._holdings.by_id.get(tenant_id) or self._holdings.by_handle.get(tenant_id)
        return None if holding is None else await self._view(holding)

    async def _view(self, holding: Holding) -> TenantView:
        out = await self._warden.call(ListQuarantined())
        used = await self._read_usage(holding)
        return holding.view(quarantined=holding.tenant.handle in out, used=used)

    async def _read_usage(self, holding: Holding) -> Mapping[str, int] | None:
        """Ask what is used, by quota; None where nobody can tell now."""
        governor = self.runtime.named(tenant_actor(holding.tenant.handle, "governor"))
        try:
            await self._locate(holding.tenant.id)  # only an awake governor knows what is used
            return await governor.call(TellUsage())
        except (CallFailed, LedgerError, TenantUnavailable):
            return None

    async def _tell_entitlement(self, holding: Holding) -> EntitlementView:
        used = await self._read_usage(holding) or {}
        return EntitlementView(
            tenant_id=holding.tenant.id,
            state=holding.tenant.state.value,
            price_plan=holding.price_plan,
            recipes=holding.entitlement.recipes,
            is_current=holding.entitlement.is_current(self._source.clock()),
            quotas={
                name: QuotaView(row.limit, row.ceiling, used.get(name))
                for name, row in holding.quotas.items()
            },
        )

    async def _list(self) -> tuple[TenantView, ...]:
        out = await self._warden.call(ListQuarantined())
        return tuple(
            holding.view(quarantined=holding.tenant.handle in out)
            for holding in self._holdings.by_id.values()
        )

    # Changing

    async def _create(self, message: CreateTenant) -> tuple[TenantView, int]:
        plan = price_plan_named(message.price_plan)
        if message.tenant_id in self._holdings.by_id or message.tenant_id == PLATFORM:
            # A tenant by the platform's name could ask for the platform's own log.
            raise InvalidInput.expected("tenant id", "one that is not taken", message.tenant_id)
        quotas = plan.opening_quotas()
        for name, limit in message.limits.items():
            if name not in quotas:
                raise InvalidInput.expected("quota", f"one of {sorted(quotas)}", name)
            if not 0 <= limit <= quotas[name].ceiling:
                constraint = f"an integer in 0..{quotas[name].ceiling}"
                raise InvalidInput.expected(f"limit of quota {name}", constraint, limit)
        tenant = Tenant(
            id=message.tenant_id,
            handle=self._source.random_bytes(8).hex(),
            display_name=message.name or message.tenant_id,
            state=TenantState.ACTIVE,
        )
        payload = tenant_payload("created", tenant, plan.id, message.by, message.limits)
        # Keyed: who asks again after a commit that nobody heard of gets the tenant that there is.
        key = f"tenant:created:{tenant.id}"
        await self._append(self._entry("tenant", TENANT_TYPE, payload, idem=key))
        holding = self._holdings.by_id[tenant.id]
        replayed = await self._move_in(holding, message.by)
        return await self._view(holding), replayed

    async def _move_in(self, holding: Holding, by: str) -> int:
        """Start a new tenant, and hand over what was parked for it; return how much."""
        tenant = holding.tenant
        emit("tenant.created", tenant=tenant.id, handle=tenant.handle, by=by)
        self._named.discard(tenant.id)
        try:
            await self._warden.call(Admit(tenant.handle))
        except (CallFailed, LedgerError, TenantUnavailable) as error:
            self._wake_later(holding, error)
        return await self._replay(holding)

    async def _sign_up(self, account: Account) -> SignedUp:
        """Append under the account's one key: the log says whether it was there before.

        Procurement says later which price plan was bought; until then it is the least.
        """
        known = self._holdings.by_id.get(account.tenant_id)
        if known is not None and known.account != account:
            raise TenantRefused(
                f"tenant {account.tenant_id!r} was made by hand and is no marketplace's account"
            )
        plan = price_plan_named(SIGN_UP_PLAN)
        tenant = Tenant(
            id=account.tenant_id,
            handle=self._source.random_bytes(8).hex(),
            display_name=f"Google Cloud Marketplace {account.id}",
            state=TenantState.PENDING,
        )
        payload = tenant_payload("signed_up", tenant, plan.id, MARKETPLACE, account=account)
        key = f"tenant:created:{tenant.id}"
        appended = await self._append(self._entry("tenant", TENANT_TYPE, payload, idem=key))
        holding = self._holdings.by_id[tenant.id]
        if not appended.duplicate:
            await self._move_in(holding, MARKETPLACE)
        receipt = view_receipt(PLATFORM, appended.receipts[0])
        return SignedUp(holding.view(), receipt, appended.duplicate)

    async def _change(self, message: ChangeTenant) -> TenantView:
        event = VERBS.get(message.verb)
        holding = self._holdings.by_id.get(message.tenant_id)
        if event is None:
            raise InvalidInput.expected("verb", f"one of {sorted(VERBS)}", message.verb)
        if holding is None:
            raise NoSuchTenant(f"nobody has created tenant {message.tenant_id!r}")
        tenant = holding.tenant.after(event)
        payload = tenant_payload(event.value, tenant, holding.price_plan, message.by)
        await self._append(self._entry("tenant", TENANT_TYPE, payload))
        self._tell_watchers(tenant.handle)
        emit("tenant.changed", tenant=tenant.id, state=tenant.state.value, by=message.by)
        if tenant.state is TenantState.CLOSED:
            await self._warden.call(Dismiss(tenant.handle))
        return self._holdings.by_handle[tenant.handle].view()

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
        key = f"quota:{message.action_id}"
        await self._append(self._entry("entitlement", QUOTA_TYPE, payload, idem=key))
        self._tell_watchers(message.handle)
        return self._holdings.by_handle[message.handle]

    async def _append(self, entry: Entry) -> Appended:
        """Make a change durable and fold it in."""
        try:
            appended = await self._platform.call(Append((entry,)))
        except (CallFailed, LedgerError):
            self._is_current = False  # it may be durable all the same
            raise
        self._fold(appended.receipts[0])
        return appended

    def _tell_watchers(self, handle: str) -> None:
        holding = self._holdings.by_handle.get(handle)
        if holding is not None:  # else the log is not read yet
            for watcher in self._watchers.get(handle, ()):
                watcher.cast(HoldingChanged(holding))

    def _entry(
        self, kind: str, payload_type: str, payload: bytes, idem: str | None = None
    ) -> Entry:
        return Entry(
            kind=kind, actor=self.path, payload=payload, payload_type=payload_type, idem=idem
        )

    def _fold(self, receipt: Receipt) -> None:
        """Fold a receipt in, once: the answer to a repeated key is an old one."""
        if receipt.seq >= self._next_seq:
            self._next_seq = receipt.seq + 1
            self._parking.apply(receipt)
            self._holdings.apply(receipt)

    # Parking

    async def _park(self, unplaced: Unplaced) -> Parked:
        self._parking.check_room(unplaced)
        appended = await self._append(parked_entry(unplaced, self.path))
        if unplaced.tenant_id in self._holdings.by_id:
            self.send_after(0.0, ("wake", unplaced.tenant_id))  # created since the door looked
        elif not appended.duplicate:
            self._name_once(unplaced)
        return Parked(view_receipt(PLATFORM, appended.receipts[0]), appended.duplicate)

    def _name_once(self, unplaced: Unplaced) -> None:
        tenant_id = unplaced.tenant_id
        if unplaced.reason == "unknown_tenant" and tenant_id and tenant_id not in self._named:
            self._named.add(tenant_id)
            command = f"autonomics tenants create {tenant_id}"
            emit("tenant.unknown", tenant=tenant_id, command=command)

    async def _replay(self, holding: Holding) -> int:
        """Hand parked messages to their tenant, in order; a crash in between repeats none twice.

        What it can't take now, because it is full or not running, is handed over later.
        """
        waiting = self._parking.waiting_for(holding.tenant.id)
        seqs = [seq for seq in waiting if seq not in self._no_signal]
        replayed: list[int] = []
        try:
            if seqs:
                await self._warden.call(Admit(holding.tenant.handle))
            for seq in seqs[:REPLAYED_AT_ONCE]:
                is_signal = await self._hand_over(holding.tenant.handle, seq)
                (replayed.append if is_signal else self._no_signal.add)(seq)
        except (CallFailed, LedgerError, TenantUnavailable) as error:
            self._wake_later(holding, error)
        else:
            if len(seqs) > REPLAYED_AT_ONCE:
                self.send_after(0.0, ("wake", holding.tenant.id))
        if replayed:
            try:
                await self._append(unparked_entry(holding.tenant.id, tuple(replayed), self.path))
            except (CallFailed, LedgerError) as error:
                self._wake_later(holding, error)  # the tenant's log knows them already
        return len(replayed)

    async def _hand_over(self, handle: str, seq: int) -> bool:
        """Append to the tenant's log; False for what is no signal, which stays parked."""
        (receipt,) = await self._ledger.call(ReadLog(self._origin, seq, 1))
        inbound = inbound_of(receipt)
        if inbound is None:
            return False
        try:
            entry = received_entry(inbound, self.path)
        except InvalidSignal:
            return False
        writer = self.runtime.named(tenant_actor(handle, "receipt_writer"))
        await writer.call(Append((entry,)))
        return True

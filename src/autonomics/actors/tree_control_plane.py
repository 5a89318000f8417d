"""The `ControlPlane` of a running tree."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TypeVar

import attrs
import trio

from autonomics.actors.doorkeeper import DOORKEEPER, Doorkeeper, Stranger
from autonomics.actors.erasure import EraseSubject, FindSubject, Named
from autonomics.actors.keyring import (
    KEYRING,
    Authenticate,
    CreateKey,
    Keyring,
    ListKeys,
    RevokeKey,
)
from autonomics.actors.ledger import Ledger
from autonomics.actors.ledger_message import (
    LEDGER,
    ReadHeads,
    ReadLeafHashes,
    ReadLog,
    SignHead,
    StoreTrouble,
)
from autonomics.actors.line import LINE, ClearLine, Line, ReadLine, StopLine
from autonomics.actors.message import (
    PLATFORM,
    Accepted,
    Decided,
    EntitlementView,
    Health,
    Inbound,
    KeyView,
    LineView,
    NamedIn,
    NewKey,
    Parked,
    Principal,
    Readiness,
    ReceiptView,
    Role,
    SignedUp,
    TenantCreated,
    TenantView,
    Unplaced,
)
from autonomics.actors.receipt_view import origin_of, parse_receipt_id, view_receipt
from autonomics.actors.receipt_writer import ReceiptWriter
from autonomics.actors.received import received_entry
from autonomics.actors.router import Router
from autonomics.actors.router_message import (
    ROUTER,
    WARDEN,
    ChangeTenant,
    CreateTenant,
    FindTenant,
    ListTenants,
    Locate,
    Park,
    Readmit,
    SignUp,
    TellEntitlement,
    TellPricePlan,
    tenant_actor,
)
from autonomics.actors.source import Source
from autonomics.actors.warden import Warden
from autonomics.actors.writer_message import Append, Appended, AwaitDecision, LogGrew
from autonomics.errors import (
    ActorDied,
    CallFailed,
    IdempotencyConflict,
    InvalidInput,
    LedgerError,
    NoSuchActor,
    NoSuchTenant,
    TenantUnavailable,
)
from autonomics.gates import Clearance, Scope, ScopeKind
from autonomics.receipts.entry import Entry
from autonomics.receipts.export import export_bundle
from autonomics.receipts.log import Receipt
from autonomics.receipts.proof import format_proof
from autonomics.receipts.signer import format_vkey
from autonomics.recipes.record import parse_received
from autonomics.runtime import Actor, ActorStatus, Address, NamedRef, Runtime, status
from autonomics.supervisors import TreeNode, snapshot
from autonomics.tenancy.sign_up import Account
from autonomics.tenancy.support_model import SupportModel, SupportTier

A = TypeVar("A", bound=Actor)
R = TypeVar("R")

DOOR = "door"
PAGE = 512
RETRY_S = 0.02
RESTART_WITHIN_S = 5.0
MAX_RELATED = 4096


@attrs.frozen(kw_only=True)
class TreeFacts:
    """What the doors have to know beside the tree itself."""

    origin_host: str
    public_key: bytes
    verifier: bytes
    version: str
    effectors: tuple[str, ...]
    dry: tuple[str, ...]
    recipes: tuple[str, ...]
    support: SupportModel
    seconds_up: Callable[[], float]
    source: Source


class TreeControlPlane:
    """Asks the actors of one runtime by their names."""

    def __init__(self, runtime: Runtime, root: Address, facts: TreeFacts) -> None:
        self._runtime = runtime
        self._root = root
        self._facts = facts

    def _named(self, name: str, actor: type[A]) -> NamedRef[A]:
        return self._runtime.named(name, actor)

    # Signals

    async def authenticate(self, secret: str) -> Principal | None:
        """Return who holds this key."""
        return await _patiently(lambda: self._named(KEYRING, Keyring).call(Authenticate(secret)))

    async def submit(self, inbound: Inbound) -> Accepted:
        """Make the message durable in its tenant's log.

        A receipt writer that dies meanwhile leaves open whether it is: asking its successor with
        the same key tells, and writes nothing twice.
        """
        entry = received_entry(inbound, DOOR)
        handle, appended = await _patiently(lambda: self._append(inbound.tenant_id, entry))
        receipt = appended.receipts[0]
        if appended.duplicate and inbound.key_is_chosen:
            _expect_same(inbound, receipt, entry)
        return Accepted(view_receipt(handle, receipt), appended.duplicate)

    async def _append(self, tenant_id: str, entry: Entry) -> tuple[str, Appended]:
        holding = await self._named(ROUTER, Router).call(Locate(tenant_id))
        handle = holding.tenant.handle
        writer = self._named(tenant_actor(handle, "receipt_writer"), ReceiptWriter)
        return handle, await writer.call(Append((entry,)))

    async def submit_and_wait(self, inbound: Inbound, timeout_s: float = 10.0) -> Decided:
        """Make the message durable and wait for its decision."""
        accepted = await self.submit(inbound)
        handle, _ = parse_receipt_id(accepted.receipt.id)
        writer = self._named(tenant_actor(handle, "receipt_writer"), ReceiptWriter)
        wait = AwaitDecision(accepted.receipt.seq)
        deadline = trio.current_time() + timeout_s

        async def ask() -> Receipt:
            left_s = max(0.001, deadline - trio.current_time())
            return await writer.call(wait, timeout_s=left_s)

        decision = await _patiently(ask, timeout_s)
        return Decided(accepted, view_receipt(handle, decision))

    async def park(self, unplaced: Unplaced) -> Parked:
        """Keep a message in the platform's log."""
        return await _patiently(lambda: self._named(ROUTER, Router).call(Park(unplaced)))

    async def count_stranger(self, reason: str) -> None:
        """Count a request without a valid key."""
        self._named(DOORKEEPER, Doorkeeper).cast(Stranger(reason))

    # Receipts

    async def receipt(self, receipt_id: str) -> ReceiptView | None:
        """Return one receipt by id, or None."""
        log, seq = parse_receipt_id(receipt_id)
        found = await self.receipts(log, seq, 1)
        return found[0] if found else None

    async def receipts(self, log: str, start: int, limit: int) -> tuple[ReceiptView, ...]:
        """Return a log's receipts from `start`, seq ascending."""
        page = await self._read(log, start, limit)
        return tuple(view_receipt(log, receipt) for receipt in page)

    async def _read(self, log: str, start: int, limit: int) -> list[Receipt]:
        question = ReadLog(origin_of(self._facts.origin_host, log), start, limit)
        return await _patiently(lambda: self._named(LEDGER, Ledger).call(question))

    async def related(self, receipt_id: str) -> tuple[ReceiptView, ...]:
        """Return the receipts of one signal's life, in order."""
        log, seq = parse_receipt_id(receipt_id)
        first = await self._find_root(log, seq)
        if first is None:
            return ()
        family = {first.seq: first}
        start = first.seq + 1
        while start <= first.seq + MAX_RELATED:
            page = await self._read(log, start, PAGE)
            for receipt in page:
                if any(cause in family for cause in receipt.fields.cause):
                    family[receipt.seq] = receipt
            if len(page) < PAGE:
                break
            start += len(page)
        return tuple(view_receipt(log, family[key]) for key in sorted(family))

    async def _find_root(self, log: str, seq: int) -> Receipt | None:
        page = await self._read(log, seq, 1)
        while page and page[0].fields.cause:
            page = await self._read(log, page[0].fields.cause[0], 1)
        return page[0] if page else None

    async def proof(self, receipt_id: str) -> bytes:
        """Return a C2SP tlog-proof of one receipt under a freshly signed checkpoint."""
        log, seq = parse_receipt_id(receipt_id)
        page = await self._read(log, seq, 1)
        if not page:
            raise InvalidInput.expected("receipt id", "that of a receipt", receipt_id)
        origin = origin_of(self._facts.origin_host, log)
        signed = await self._named(LEDGER, Ledger).call(SignHead(origin))
        hashes = await self._named(LEDGER, Ledger).call(ReadLeafHashes(origin, signed.head.size))
        return format_proof(page[0], hashes, signed.note)

    async def export(self, tenant_id: str) -> Iterator[tuple[str, bytes]]:
        """Return the tenant's whole log as files of a bundle folder."""
        log = await self._log_of(tenant_id)
        origin = origin_of(self._facts.origin_host, log)
        signed = await self._named(LEDGER, Ledger).call(SignHead(origin), timeout_s=30.0)
        receipts: list[Receipt] = []
        while len(receipts) < signed.head.size:
            receipts += await self._read(log, len(receipts), PAGE)
        return export_bundle(receipts[: signed.head.size], signed.note, self._facts.verifier)

    async def verifier_key(self, tenant_id: str) -> str:
        """Return the C2SP vkey under which the tenant's checkpoints are signed."""
        origin = origin_of(self._facts.origin_host, await self._log_of(tenant_id))
        return format_vkey(origin, self._facts.public_key)

    async def _log_of(self, tenant_id: str) -> str:
        if tenant_id == PLATFORM:
            return PLATFORM
        found = await self.tenant(tenant_id)
        if found is None:
            raise NoSuchTenant(f"nobody has created tenant {tenant_id!r}")
        return found.handle

    # Tenants and keys

    async def tenants(self) -> tuple[TenantView, ...]:
        """Return all tenants, oldest first."""
        return await _patiently(lambda: self._named(ROUTER, Router).call(ListTenants()))

    async def tenant(self, tenant_id: str) -> TenantView | None:
        """Return one tenant by id or handle, or None."""
        return await _patiently(lambda: self._named(ROUTER, Router).call(FindTenant(tenant_id)))

    async def support_model(self, tenant_id: str) -> SupportTier:
        """Return the support that the tenant's price plan comes with."""
        question = TellPricePlan(tenant_id)
        price_plan = await _patiently(lambda: self._named(ROUTER, Router).call(question))
        return self._facts.support.tier(price_plan)

    async def entitlement(self, tenant_id: str) -> EntitlementView:
        """Return what the tenant has bought and used."""
        question = TellEntitlement(tenant_id)
        view = await _patiently(lambda: self._named(ROUTER, Router).call(question))
        return attrs.evolve(view, known_recipes=self._facts.recipes)

    async def create_tenant(
        self,
        tenant_id: str,
        name: str,
        price_plan: str,
        by: str,
        limits: Mapping[str, int] | None = None,
    ) -> TenantCreated:
        """Create a tenant and its two keys, and replay what was parked for it."""
        create = CreateTenant(tenant_id, name, price_plan, by, dict(limits or {}))
        tenant, replayed = await self._named(ROUTER, Router).call(create, timeout_s=60.0)
        api_key = await self.create_key("tenant", tenant_id, by)
        push_token = await self.create_key("push", tenant_id, by)
        return TenantCreated(tenant, api_key, push_token, replayed)

    async def sign_up(self, account: Account) -> SignedUp:
        """Have a pending tenant for a marketplace's account; a router that dies is asked again."""
        return await _patiently(lambda: self._named(ROUTER, Router).call(SignUp(account)))

    async def change_tenant(self, tenant_id: str, verb: str, by: str) -> TenantView:
        """Carry out `activate`, `suspend`, `resume`, `close` or `readmit`."""
        if verb != "readmit":
            return await self._named(ROUTER, Router).call(ChangeTenant(tenant_id, verb, by))
        found = await self.tenant(tenant_id)
        if found is None:
            raise NoSuchTenant(f"nobody has created tenant {tenant_id!r}")
        await self._named(WARDEN, Warden).call(Readmit(found.handle, by))
        return attrs.evolve(found, quarantined=False)

    async def create_key(self, role: Role, tenant_id: str | None, by: str) -> NewKey:
        """Make a key."""
        if tenant_id is not None and await self.tenant(tenant_id) is None:
            raise NoSuchTenant(f"nobody has created tenant {tenant_id!r}")
        return await self._named(KEYRING, Keyring).call(CreateKey(role, tenant_id, by))

    async def revoke_key(self, key_id: str, by: str) -> KeyView:
        """Revoke a key at once."""
        return await self._named(KEYRING, Keyring).call(RevokeKey(key_id, by))

    async def keys(self) -> tuple[KeyView, ...]:
        """Return all keys without their secrets."""
        return await self._named(KEYRING, Keyring).call(ListKeys())

    # The line

    async def line(self) -> LineView:
        """Return the latch."""
        return await _patiently(lambda: self._named(LINE, Line).call(ReadLine()))

    async def stop_line(self, scope: str, reason: str, by: str) -> LineView:
        """Stop the line in a scope."""
        return await self._named(LINE, Line).call(StopLine(await self._scope(scope), reason, by))

    async def clear_line(
        self, scope: str, root_cause: str, fix: str, prevention: str, by: str
    ) -> LineView:
        """Clear a stop; all three texts are required."""
        clearance = Clearance(root_cause=root_cause, fix=fix, prevention=prevention, by=by)
        return await self._named(LINE, Line).call(ClearLine(await self._scope(scope), clearance))

    async def _scope(self, text: str) -> Scope:
        """Read `line`, `tenant:<id>`, `recipe:<id>` or `resource:<name>`."""
        kind, _, name = text.partition(":")
        if kind not in {each.value for each in ScopeKind}:
            raise InvalidInput.expected(
                "scope", "line, tenant:<id>, recipe:<id> or resource:<name>", text
            )
        if kind == ScopeKind.TENANT.value:
            name = await self._log_of(name)
        return Scope(ScopeKind(kind), name)

    # People

    async def find_subject(self, subject: str) -> tuple[NamedIn, ...]:
        """Return where a person is named."""
        question = FindSubject(subject)
        return _show_named(await _patiently(lambda: self._named(LEDGER, Ledger).call(question)))

    async def erase_subject(self, subject: str, reason: str, by: str) -> tuple[NamedIn, ...]:
        """End each payload that names a person; not asked twice, for a reply may be lost."""
        question = EraseSubject(subject, reason, by, self._facts.source)
        found = await self._named(LEDGER, Ledger).call(question, timeout_s=60.0)
        for log in dict.fromkeys(_log_name(named.origin) for named in found):
            name = log if log == PLATFORM else tenant_actor(log, "receipt_writer")
            self._named(name, ReceiptWriter).cast(LogGrew())
        return _show_named(found)

    # The house

    async def health(self) -> Health:
        """Ask ledger and line how they are."""
        line = LineView(0, stopped=True)
        readiness: Readiness = "ready"
        tenants: tuple[TenantView, ...] = ()
        receipts = 0
        try:
            trouble = await self._named(LEDGER, Ledger).call(StoreTrouble())
            if not trouble:
                line = await self._named(LINE, Line).call(ReadLine())
                tenants = await self._named(ROUTER, Router).call(ListTenants())
                heads = await self._named(LEDGER, Ledger).call(ReadHeads())
                receipts = sum(head.size for head in heads)
        except (CallFailed, LedgerError) as error:
            trouble, readiness = str(error), "starting"
        if trouble and readiness == "ready":
            readiness = "store_unavailable"
        elif not trouble and _stops_everything(line):
            readiness = "line_stopped"
        return Health(
            readiness=readiness,
            store=trouble or "open",
            line=line,
            tenants=len(tenants),
            tenants_quarantined=sum(tenant.quarantined for tenant in tenants),
            receipts=receipts,
            uptime_s=self._facts.seconds_up(),
            version=self._facts.version,
            effectors=self._facts.effectors,
            dry=self._facts.dry,
        )

    async def tree(self) -> TreeNode:
        """Return a snapshot of the whole tree."""
        return await snapshot(self._root)

    async def actor_status(self, path: str) -> ActorStatus | None:
        """Look at the latest who lives at the path: a zombie may be there beside its successor."""
        await trio.lowlevel.checkpoint()
        found = [ref for ref in self._runtime.living() if ref.path == path]
        return status(found[-1]) if found else None


def _log_name(origin: str) -> str:
    return origin.rpartition("/")[2]


def _show_named(found: tuple[Named, ...]) -> tuple[NamedIn, ...]:
    return tuple(NamedIn(f"{_log_name(n.origin)}.{n.seq}", n.kind, n.kept) for n in found)


def _stops_everything(line: LineView) -> bool:
    """Tell a stop of the whole line from stops of tenants, recipes and resources."""
    return line.stopped and (not line.stops or any(stop.scope == "line" for stop in line.stops))


async def _patiently(ask: Callable[[], Awaitable[R]], within_s: float = RESTART_WITHIN_S) -> R:
    """Ask again while the callee is being restarted; every question here may be asked twice."""
    deadline = trio.current_time() + within_s
    while True:
        try:
            return await ask()
        except (NoSuchActor, ActorDied) as error:
            if trio.current_time() >= deadline:
                raise _gave_up(error) from None
            await trio.sleep(RETRY_S)


def _gave_up(error: CallFailed) -> Exception:
    return TenantUnavailable(f"it is being restarted: {error}", RESTART_WITHIN_S)


def _expect_same(inbound: Inbound, first: Receipt, entry: Entry) -> None:
    """Refuse a chosen key that came before with other content."""
    if first.payload is None:
        return
    before, now = parse_received(first.payload), parse_received(entry.payload)
    if before.signal != now.signal:
        raise IdempotencyConflict(
            f"key {inbound.message_id!r} came before with other content (receipt {first.seq})"
        )

"""The warden: starts tenants, quarantines those that keep failing, and readmits them by rule.

A tenant's supervisor restarts its own actors. When it gives up, the tenant alone is down: the
warden notes it in the platform's log and admits it again after a wait that doubles with each
failure. After `MAX_FAILURES` within `FORGET_S` it stays out until an operator readmits it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import attrs
import trio

from autonomics.actors.answer import answer
from autonomics.actors.router_message import (
    Admit,
    Dismiss,
    ListQuarantined,
    Readmit,
    WardenQuestion,
)
from autonomics.actors.source import Source
from autonomics.actors.writer_message import AppendLater
from autonomics.errors import StartFailed, TenantUnavailable
from autonomics.receipts import canonical
from autonomics.receipts.entry import Entry
from autonomics.runtime import Actor, ActorRef, Address, Down, MailboxSpec, ReplyTo, TakesCast
from autonomics.supervisors import (
    ChildSpec,
    DynamicSupervisor,
    Supervisor,
    start_child,
    terminate_child,
    which_children,
)
from autonomics.telemetry import declare, emit

FIRST_WAIT_S = 1.0
LAST_WAIT_S = 60.0
MAX_FAILURES = 8
FORGET_S = 600.0
RESTART_TYPE = "autonomics.restart/1"

declare(
    "tenant.quarantined",
    "A tenant's supervisor gave up; the tenant is kept out for a while.",
    tenant="handle",
    reason="exit reason of its supervisor, or why it did not start",
    failures="failures that still count",
    wait_s="seconds until it is let in again, if no operator is needed",
)
declare("tenant.readmitted", "An operator ended a quarantine.", tenant="handle", by="who")


@attrs.define
class _Ward:
    """One tenant as the warden sees it."""

    ref: ActorRef | None = None
    failed_at: list[float] = attrs.Factory(list[float])
    free_at: float = 0.0
    needs_operator: bool = False


class Warden(Actor):
    """Keeps tenants running without letting one take another with it."""

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=100_000)

    def __init__(
        self,
        *,
        pool: Address[DynamicSupervisor],
        platform: Address[TakesCast[AppendLater]],
        source: Source,
        tenant_spec: Callable[[str], Supervisor],
    ) -> None:
        self._pool = pool
        self._platform = platform
        self._source = source
        self._tenant_spec = tenant_spec
        self._wards: dict[str, _Ward] = {}

    async def init(self) -> None:
        """Take over the tenants that a predecessor left running."""
        for child in await which_children(self._pool):
            if child.ref is not None:
                self._watch(child.id, _Ward(), child.ref)

    async def handle_call(self, message: WardenQuestion, reply_to: ReplyTo) -> object:
        """Admit, dismiss, readmit or list."""
        match message:
            case Admit(handle):
                return await answer(reply_to, self._admit(handle))
            case Readmit(handle, by):
                return await answer(reply_to, self._readmit(handle, by))
            case Dismiss(handle):
                return await answer(reply_to, self._dismiss(handle))
            case ListQuarantined():
                return frozenset(
                    handle for handle, ward in self._wards.items() if self._wait_s(ward) > 0
                )
            case _:
                raise TypeError(f"expected a tenant to look after, got {message!r}")

    async def handle_info(self, message: object) -> None:
        """Take note of a tenant's end, and let it in again when its time has come."""
        match message:
            case Down(tag=("ward", str(handle)), ref=ref, reason=reason):
                ward = self._wards.get(handle)
                if ward is not None and ward.ref == ref:
                    ward.ref = None
                    await self._quarantine(handle, ward, repr(reason))
            case ("readmit", str(handle)):
                ward = self._wards.get(handle)
                if ward and ward.ref is None and self._wait_s(ward) <= 0:
                    await self._start(handle, ward)
            case _:
                pass

    async def _admit(self, handle: str) -> None:
        ward = self._wards.setdefault(handle, _Ward())
        if ward.ref is not None and ward.ref.is_alive():
            return
        wait_s = self._wait_s(ward)
        if wait_s > 0:
            who = "an operator readmits it" if ward.needs_operator else "its time is over"
            raise TenantUnavailable(f"the tenant is in quarantine until {who}", wait_s)
        await self._start(handle, ward)
        if ward.ref is None:
            raise TenantUnavailable("the tenant failed to start", self._wait_s(ward))

    async def _start(self, handle: str, ward: _Ward) -> None:
        spec = ChildSpec(id=handle, start=lambda: self._tenant_spec(handle), restart="temporary")
        try:
            ref = await start_child(self._pool, spec)
        except StartFailed as error:
            # A start that the end of the house cut off is no fault of the tenant's.
            if not self.runtime.is_stopping:
                await self._quarantine(handle, ward, str(error))
            return
        self._watch(handle, ward, ref)

    def _watch(self, handle: str, ward: _Ward, ref: ActorRef) -> None:
        self._wards[handle] = ward
        ward.ref = ref
        ref.monitor(("ward", handle))

    async def _readmit(self, handle: str, by: str) -> None:
        ward = self._wards.setdefault(handle, _Ward())
        ward.failed_at.clear()
        ward.free_at, ward.needs_operator = 0.0, False
        emit("tenant.readmitted", tenant=handle, by=by)
        await self._admit(handle)

    async def _dismiss(self, handle: str) -> None:
        ward = self._wards.pop(handle, None)
        if ward is not None and ward.ref is not None:
            await terminate_child(self._pool, ward.ref)

    async def _quarantine(self, handle: str, ward: _Ward, why: str) -> None:
        now = trio.current_time()
        ward.failed_at = [at for at in ward.failed_at if now - at <= FORGET_S] + [now]
        failures = len(ward.failed_at)
        ward.needs_operator = failures >= MAX_FAILURES
        wait_s = min(FIRST_WAIT_S * 2 ** (failures - 1), LAST_WAIT_S)
        ward.free_at = now + wait_s
        emit("tenant.quarantined", tenant=handle, reason=why, failures=failures, wait_s=wait_s)
        if not ward.needs_operator:
            self.send_after(wait_s, ("readmit", handle))
        payload = {
            "event": "quarantined",
            "handle": handle,
            "reason": why[:500],
            "failures": failures,
            "wait_ms": round(wait_s * 1000),
            "needs_operator": ward.needs_operator,
        }
        entry = Entry(
            kind="restart",
            actor=self.path,
            payload=canonical.encode(payload),
            payload_type=RESTART_TYPE,
            idem=f"quarantine:{self._source.random_bytes(16).hex()}",
        )
        # A cast: a store that is slow or away must hold up neither the quarantine nor the others.
        self._platform.cast(AppendLater(self.ref, (entry,)))

    @staticmethod
    def _wait_s(ward: _Ward) -> float:
        if ward.ref is not None:
            return 0.0
        if ward.needs_operator:
            return LAST_WAIT_S
        return max(0.0, ward.free_at - trio.current_time())

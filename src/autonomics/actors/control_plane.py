"""The doors' way into the tree: every method is one message, or the few that make one question.

Doors (HTTP, MCP, an embedding host) hold a `ControlPlane` and nothing else of the tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from autonomics.actors.message import (
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
    ReceiptView,
    Role,
    SignedUp,
    TenantCreated,
    TenantView,
    Unplaced,
)
from autonomics.runtime import ActorStatus
from autonomics.supervisors import TreeNode
from autonomics.tenancy.sign_up import Account
from autonomics.tenancy.support_model import SupportTier


class ControlPlane(Protocol):
    """What a door may ask. `by` is the asking principal's key id, and stands in the receipt.

    Raises, each where it can happen: NoSuchTenant; TenantUnavailable (quarantined, suspended for
    good, or waking too slowly); Overloaded (the tenant's mailbox is full); StoreUnavailable;
    IdempotencyConflict; ParkingFull; InvalidInput for a bad argument.
    """

    async def authenticate(self, secret: str) -> Principal | None:
        """Return who holds this key, or None if nobody does or it is revoked."""
        ...

    async def submit(self, inbound: Inbound) -> Accepted:
        """Make the message durable in its tenant's log; decided later."""
        ...

    async def submit_and_wait(self, inbound: Inbound, timeout_s: float = 10.0) -> Decided:
        """Make the message durable and wait for its decision; CallTimedOut leaves it accepted."""
        ...

    async def park(self, unplaced: Unplaced) -> Parked:
        """Keep a message that nobody can decide yet, with a receipt in the platform's log."""
        ...

    async def count_stranger(self, reason: str) -> None:
        """Count a request without a valid key; one receipt a minute tells how many."""
        ...

    async def receipt(self, receipt_id: str) -> ReceiptView | None:
        """Return one receipt by id, or None."""
        ...

    async def receipts(self, log: str, start: int, limit: int) -> tuple[ReceiptView, ...]:
        """Return a log's receipts from `start`, seq ascending; a log is a handle or `platform`."""
        ...

    async def related(self, receipt_id: str) -> tuple[ReceiptView, ...]:
        """Return the receipts of one signal's life, in order, given any one of them."""
        ...

    async def proof(self, receipt_id: str) -> bytes:
        """Return a C2SP tlog-proof of one receipt under a freshly signed checkpoint."""
        ...

    async def export(self, tenant_id: str) -> Iterator[tuple[str, bytes]]:
        """Return the tenant's whole log as (relative path, bytes) of a bundle folder."""
        ...

    async def verifier_key(self, tenant_id: str) -> str:
        """Return the C2SP vkey under which the tenant's checkpoints are signed."""
        ...

    async def tenants(self) -> tuple[TenantView, ...]:
        """Return all tenants, oldest first."""
        ...

    async def tenant(self, tenant_id: str) -> TenantView | None:
        """Return one tenant, or None."""
        ...

    async def support_model(self, tenant_id: str) -> SupportTier:
        """Return the support that the tenant's price plan comes with, whatever its state."""
        ...

    async def entitlement(self, tenant_id: str) -> EntitlementView:
        """Return what the tenant has bought and used, whatever its state."""
        ...

    async def create_tenant(
        self,
        tenant_id: str,
        name: str,
        price_plan: str,
        by: str,
        limits: Mapping[str, int] | None = None,
    ) -> TenantCreated:
        """Create a tenant with its two keys, and replay what was parked for it.

        `limits` are what its contract says of its quotas where that differs from the price plan.
        """
        ...

    async def sign_up(self, account: Account) -> SignedUp:
        """Have a pending tenant, without keys, for a marketplace's account: once for each.

        TenantRefused if somebody else has the id that would be its.
        """
        ...

    async def change_tenant(self, tenant_id: str, verb: str, by: str) -> TenantView:
        """Carry out `activate`, `suspend`, `resume`, `close` or `readmit`."""
        ...

    async def create_key(self, role: Role, tenant_id: str | None, by: str) -> NewKey:
        """Make a key; its secret is in the answer and nowhere else."""
        ...

    async def revoke_key(self, key_id: str, by: str) -> KeyView:
        """Revoke a key at once."""
        ...

    async def keys(self) -> tuple[KeyView, ...]:
        """Return all keys without their secrets."""
        ...

    async def line(self) -> LineView:
        """Return the latch."""
        ...

    async def stop_line(self, scope: str, reason: str, by: str) -> LineView:
        """Stop the line in a scope: `line`, `tenant:<id>`, `recipe:<id>` or `resource:<name>`."""
        ...

    async def clear_line(
        self, scope: str, root_cause: str, fix: str, prevention: str, by: str
    ) -> LineView:
        """Clear a stop; all three texts are required."""
        ...

    async def find_subject(self, subject: str) -> tuple[NamedIn, ...]:
        """Return where a person is named, by e-mail address or user name; () if nowhere."""
        ...

    async def erase_subject(self, subject: str, reason: str, by: str) -> tuple[NamedIn, ...]:
        """End each payload that names a person, with a receipt for each; return what was found.

        Durable at the return, in one step for all logs. `reason` is kept, and may not name them.
        """
        ...

    async def health(self) -> Health:
        """Ask ledger and line how they are."""
        ...

    async def tree(self) -> TreeNode:
        """Return a snapshot of the whole tree."""
        ...

    async def actor_status(self, path: str) -> ActorStatus | None:
        """Look at one actor of the tree without asking it; None if there is none at this path."""
        ...

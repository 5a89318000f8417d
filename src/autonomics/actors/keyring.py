"""The keyring: who holds which key. Only keyed hashes are stored; a key is shown once."""

from __future__ import annotations

from typing import ClassVar

import attrs

from autonomics.actors.answer import answer
from autonomics.actors.ledger_message import KeepOnce, ReadKeys, SaveKey
from autonomics.actors.message import KeyView, NewKey, Principal, Role
from autonomics.actors.source import Source
from autonomics.actors.writer_message import Append
from autonomics.errors import CallFailed, InvalidInput, LedgerError, StoreUnavailable
from autonomics.receipts import canonical
from autonomics.receipts.entry import Entry
from autonomics.receipts.store import KeyRecord
from autonomics.runtime import (
    NO_REPLY,
    Actor,
    Address,
    AnswersCall,
    Call,
    Continue,
    MailboxSpec,
    ReplyTo,
)
from autonomics.tenancy.api_key import (
    RANDOM_BYTES,
    hash_api_key,
    is_same_hash,
    make_api_key,
    parse_api_key,
)

KEYRING = "keyring"
KEY_TYPE = "autonomics.key/1"
RETRY_S = 0.2
ROLES: tuple[Role, ...] = ("operator", "admin", "tenant", "push")


@attrs.frozen
class Authenticate(Call[Principal | None]):
    """Ask who holds a key; None for nobody."""

    text: str = attrs.field(repr=False)


@attrs.frozen
class CreateKey(Call[NewKey]):
    """Make a key; the answer is the only place where it stands in the clear."""

    role: Role
    tenant_id: str | None
    by: str


@attrs.frozen
class RevokeKey(Call[KeyView]):
    """Make a key useless, from the reply on."""

    key_id: str
    by: str


@attrs.frozen
class ListKeys(Call[tuple[KeyView, ...]]):
    """Ask for all keys, oldest first."""


class Keyring(Actor):
    """Holds the key records in memory; the store holds them for the next start."""

    mailbox: ClassVar[MailboxSpec] = MailboxSpec(capacity=10_000)

    def __init__(
        self,
        *,
        ledger: Address[AnswersCall[KeepOnce | ReadKeys | SaveKey]],
        platform: Address[AnswersCall[Append]],
        source: Source,
    ) -> None:
        self._ledger = ledger
        self._platform = platform
        self._source = source
        self._pepper = b""
        self._records: dict[str, KeyRecord] = {}
        self._is_read = False

    async def init(self) -> Continue:
        """Return at once: a store that is away must not spend the supervisor's patience."""
        return Continue("read")

    async def handle_continue(self, message: object) -> None:
        """Read all records, ahead of the first question."""
        await self._read()

    async def handle_info(self, message: object) -> None:
        """Try again to read."""
        await self._read()

    async def _read(self) -> None:
        try:
            pepper = await self._ledger.call(KeepOnce("key_pepper", self._source.random_bytes(32)))
            records = await self._ledger.call(ReadKeys())
        except (CallFailed, LedgerError):
            self.send_after(RETRY_S, "read")
            return
        self._pepper, self._records = pepper, {row.id: row for row in records}
        self._is_read = True

    async def handle_call(
        self, message: Authenticate | CreateKey | RevokeKey | ListKeys, reply_to: ReplyTo
    ) -> object:
        """Authenticate, make, revoke or list."""
        if not self._is_read:
            reply_to.fail(StoreUnavailable("the keys can't be read now"))
            return NO_REPLY
        match message:
            case Authenticate(text):
                return self._authenticate(text)
            case CreateKey():
                return await answer(reply_to, self._create(message))
            case RevokeKey():
                return await answer(reply_to, self._revoke(message))
            case ListKeys():
                rows = sorted(self._records.values(), key=lambda row: (row.created_at, row.id))
                return tuple(_show(row) for row in rows)
            case _:
                raise TypeError(f"expected a question about keys, got {message!r}")

    def _authenticate(self, text: str) -> Principal | None:
        key = parse_api_key(text)
        record = self._records.get(key.id) if key else None
        if key is None or record is None or record.revoked_at is not None:
            return None
        if not is_same_hash(record.hash, hash_api_key(self._pepper, key)):
            return None
        return Principal(record.id, _role(record.role), record.tenant)

    async def _create(self, message: CreateKey) -> NewKey:
        if (message.tenant_id is not None) != (message.role in ("tenant", "push")):
            raise InvalidInput.expected(
                f"tenant of a key with role {message.role}",
                "named for tenant and push keys and for no other",
                message.tenant_id,
            )
        key = make_api_key(self._source.random_bytes(RANDOM_BYTES))
        record = KeyRecord(
            id=key.id,
            hash=hash_api_key(self._pepper, key),
            role=message.role,
            tenant=message.tenant_id,
            created_at=self._source.clock(),
        )
        await self._save(record, "created", message.by)
        return NewKey(key.id, key.text, message.role, message.tenant_id)

    async def _revoke(self, message: RevokeKey) -> KeyView:
        record = self._records.get(message.key_id)
        if record is None:
            raise InvalidInput.expected("key id", "that of a known key", message.key_id)
        if record.revoked_at is None:
            record = attrs.evolve(record, revoked_at=self._source.clock())
            await self._save(record, "revoked", message.by)
        return _show(record)

    async def _save(self, record: KeyRecord, event: str, by: str) -> None:
        """Write the receipt first: a key that works and is in no log would be worse than none."""
        payload = {
            "event": event,
            "key": record.id,
            "role": record.role,
            "tenant": record.tenant,
            "by": by,
        }
        entry = Entry(
            kind="key",
            actor=self.path,
            payload=canonical.encode(payload),
            payload_type=KEY_TYPE,
            idem=f"key:{event}:{record.id}",
        )
        await self._platform.call(Append((entry,)))
        await self._ledger.call(SaveKey(record))
        self._records[record.id] = record


def _show(record: KeyRecord) -> KeyView:
    return KeyView(
        record.id, _role(record.role), record.tenant, record.created_at, record.revoked_at
    )


def _role(text: str) -> Role:
    for role in ROLES:
        if role == text:
            return role
    raise InvalidInput.expected("role", f"one of {ROLES}", text)

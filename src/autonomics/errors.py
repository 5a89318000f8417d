"""Every error that Autonomics raises, as one tree.

AutonomicsError
├─ InvalidInput                 a value from outside broke a constraint (also a ValueError)
│  ├─ InvalidConfig             a setting, the environment or autonomics.toml
│  ├─ InvalidSpec               a child spec or supervisor flag
│  ├─ InvalidRecipe             a recipe file
│  ├─ InvalidSignal             a message that can't be read as a signal
│  └─ NotCanonical              bytes or a value outside the canonical profile
├─ CallFailed                   a call got no reply; says which actor and why
│  ├─ NoSuchActor
│  ├─ CallTimedOut
│  ├─ CallingSelf
│  ├─ WouldDeadlock
│  ├─ Overloaded
│  └─ ActorDied
├─ StartFailed                  a child or tree did not come up; what had started was stopped again
├─ ChildRefused                 a supervisor may not do that to this child now
├─ HandlerRefused               an event manager can't do that with a handler
│  ├─ NoSuchHandler             it has none of that id
│  ├─ HandlerTaken              the id is in use
│  └─ HandlerFailed             the handler raised; it is not installed now
├─ AlreadyRegistered            a key of a registry belongs to another actor, or to oneself already
├─ TaskFailed                   a task ended without a result; `reason` says how
│  └─ TaskTimedOut              it gave none in time
├─ RuntimeUnusable              an embedded runtime is closed, or of another process or thread
├─ Unstoppable                  an actor outlived its grace and its cancellation
├─ LedgerError
│  ├─ StoreUnavailable          the store can't take writes now; try again later
│  ├─ StoreUnusable             the file is foreign, corrupted or newer than this program
│  ├─ DataFolderBusy            another process holds the data folder
│  ├─ LogForked                 a checkpoint contradicts the log, or one that was signed before
│  ├─ Fenced                    another writer took over, or the line generation is stale
│  └─ IdempotencyConflict       the key was used before with other content
├─ TenantRefused
│  ├─ NoSuchTenant              nobody has created it; its messages are parked meanwhile
│  ├─ TenantUnavailable         quarantined or closed; says when to come again
│  └─ ParkingFull               the sender has parked as much as it may
├─ EffectFailed                 a call to an outside system ended badly, and is known to have
│  ├─ EffectUnknown             it was sent, and nobody can say whether it took effect
│  └─ TokenUnavailable          it was not sent: no token could be had for it
├─ TokenRefused                 a token of somebody else's is not valid here; `reason` is one word
├─ DoorRefused                  a door can't take a request as it came; `code` is its problem
└─ CommandFailed                a command can't go on; its text is the one line that the user sees
"""

from __future__ import annotations


class AutonomicsError(Exception):
    """Root of the tree."""


class InvalidInput(AutonomicsError, ValueError):
    """Say which value broke which constraint: `expected <name> to be <constraint>, got <value>`."""

    @classmethod
    def expected(cls, name: str, constraint: str, value: object) -> InvalidInput:
        """Build the error with its wording; a long value is cut to 200 characters."""
        shown = repr(value)
        if len(shown) > 200:
            shown = f"{shown[:200]}... ({len(shown)} characters)"
        return cls(f"expected {name} to be {constraint}, got {shown}")


class InvalidConfig(InvalidInput):
    """A setting is unknown or out of range."""


class InvalidSpec(InvalidInput):
    """A child spec or supervisor flag is not usable."""


class InvalidRecipe(InvalidInput):
    """A recipe file breaks the format."""


class InvalidSignal(InvalidInput):
    """A message can't be read as a signal."""


class NotCanonical(InvalidInput):
    """Bytes or a value stand outside the canonical profile."""


class CallFailed(AutonomicsError):
    """A call got no reply."""


class NoSuchActor(CallFailed):
    """No actor lives under that name or reference."""


class CallTimedOut(CallFailed):
    """The reply did not come in time; the request may still be carried out."""


class CallingSelf(CallFailed):
    """An actor called itself and would have waited for ever."""


class WouldDeadlock(CallFailed):
    """The call would have closed a cycle of actors that wait for each other.

    `cycle` has their paths, from the caller over the callee back to the caller.
    """

    def __init__(self, cycle: tuple[str, ...]) -> None:
        super().__init__(f"{cycle[0]} would wait for itself: {' -> '.join(cycle)}")
        self.cycle = cycle


class Overloaded(CallFailed):
    """The mailbox is full and refuses."""


class ActorDied(CallFailed):
    """The callee ended before it replied; `reason` says how."""

    def __init__(self, message: str, reason: object) -> None:
        super().__init__(message)
        self.reason = reason


class StartFailed(AutonomicsError):
    """A child or a tree did not come up; `reason` says why."""

    def __init__(self, message: str, reason: object) -> None:
        super().__init__(message)
        self.reason = reason


class ChildRefused(AutonomicsError):
    """A supervisor may not do that to this child now; `rule` is the stable word for why."""

    def __init__(self, message: str, rule: str) -> None:
        super().__init__(message)
        self.rule = rule


class HandlerRefused(AutonomicsError):
    """An event manager can't do that with a handler."""


class NoSuchHandler(HandlerRefused):
    """The event manager has no handler of that id."""


class HandlerTaken(HandlerRefused):
    """The event manager has a handler of that id already."""


class HandlerFailed(HandlerRefused):
    """A handler raised `error` while somebody waited for it; it is not installed now."""

    def __init__(self, message: str, error: Exception) -> None:
        super().__init__(message)
        self.error = error


class AlreadyRegistered(AutonomicsError):
    """A key of a registry is taken; `owner` is the address of who has it."""

    def __init__(self, message: str, owner: object) -> None:
        super().__init__(message)
        self.owner = owner


class TaskFailed(AutonomicsError):
    """A task ended without a result; `reason` says how."""

    def __init__(self, message: str, reason: object) -> None:
        super().__init__(message)
        self.reason = reason


class TaskTimedOut(TaskFailed):
    """A task gave no result in time."""


class RuntimeUnusable(AutonomicsError):
    """An embedded runtime can't be used from here: closed, forked, or of another thread."""


class Unstoppable(AutonomicsError):
    """An actor outlived its grace and its cancellation; it is a zombie until its task ends."""


class LedgerError(AutonomicsError):
    """The ledger can't do what was asked."""


class StoreUnavailable(LedgerError):
    """The store can't take writes now."""


class StoreUnusable(LedgerError):
    """The store's file is foreign, corrupted or newer than this program."""


class DataFolderBusy(LedgerError):
    """Another process holds the data folder."""


class LogForked(LedgerError):
    """A checkpoint contradicts the log, or one that was signed before."""


class Fenced(LedgerError):
    """Another writer took over, or the intent was planned under an older line generation."""


class IdempotencyConflict(LedgerError):
    """An idempotency key came again with other content."""


class TenantRefused(AutonomicsError):
    """A message can't be handed to its tenant."""


class NoSuchTenant(TenantRefused):
    """Nobody has created this tenant."""


class TenantUnavailable(TenantRefused):
    """The tenant can't take messages now; `retry_after_s` says when it may."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ParkingFull(TenantRefused):
    """The sender has parked as many messages or bytes as it may."""


class EffectFailed(AutonomicsError):
    """An outside call failed, and is known to have changed nothing."""


class EffectUnknown(EffectFailed):
    """An outside call was sent, and nobody can say whether it took effect."""


class TokenUnavailable(EffectFailed):
    """No access token could be had for an outside call, so it was not sent."""


class TokenRefused(AutonomicsError):
    """A token is not valid here; `reason` is one word, and nothing of the token is in it."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the token is not valid here: {reason}")
        self.reason = reason


class DoorRefused(AutonomicsError):
    """A door can't take a request as it came; `code` names a row of the doors' problem table."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class CommandFailed(AutonomicsError):
    """A command can't go on; the text is the one line that the user sees."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code

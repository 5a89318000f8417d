"""Actors on trio: mailboxes, calls with reply slots, monitors, names and timers.

This room knows how one actor lives and ends. It knows nothing of supervisors or tenants.
"""

from __future__ import annotations

from autonomics.runtime.actor import Actor, Behaviour, Worker
from autonomics.runtime.host import Runtime, RuntimeStatistics, open_runtime
from autonomics.runtime.mailbox import MailboxSpec, MailboxStatistics
from autonomics.runtime.message import (
    IGNORE,
    NO_REPLY,
    AlreadyStarted,
    Call,
    Continue,
    Down,
    Ignore,
    InitTimedOut,
    NeverStarted,
    NoReply,
    Refuse,
    Stop,
)
from autonomics.runtime.reason import (
    Crash,
    ExitReason,
    Killed,
    NoProcess,
    Normal,
    Shutdown,
    is_clean,
)
from autonomics.runtime.ref import ActorRef, Address, Monitor, NamedRef
from autonomics.runtime.reply import ReplyTo
from autonomics.runtime.timer import Timer

__all__ = [
    "IGNORE",
    "NO_REPLY",
    "Actor",
    "ActorRef",
    "Address",
    "AlreadyStarted",
    "Behaviour",
    "Call",
    "Continue",
    "Crash",
    "Down",
    "ExitReason",
    "Ignore",
    "InitTimedOut",
    "Killed",
    "MailboxSpec",
    "MailboxStatistics",
    "Monitor",
    "NamedRef",
    "NeverStarted",
    "NoProcess",
    "NoReply",
    "Normal",
    "Refuse",
    "ReplyTo",
    "Runtime",
    "RuntimeStatistics",
    "Shutdown",
    "Stop",
    "Timer",
    "Worker",
    "is_clean",
    "open_runtime",
]

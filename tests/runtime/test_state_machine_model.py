"""Random machines and scripts, against a model that keeps everything in plain lists.

The model knows no actor, no mailbox and no task: it is a list of what is still to come, sorted
by hand, and a clock that jumps from one to the next.
"""

from __future__ import annotations

import itertools
from typing import Literal

import attrs
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from autonomics.runtime import (
    POSTPONE,
    Action,
    Answer,
    CancelTimeout,
    CastEvent,
    EnterAnswer,
    Go,
    Initial,
    Insert,
    InternalEvent,
    Keep,
    Repeat,
    SetTimeout,
    StateEvent,
    StateMachine,
    Timeout,
    TimeoutEvent,
    UpdateTimeout,
    open_runtime,
)

STATES = "a", "b", "c"
WORDS = "p", "q", "r"
TIMERS = "state", "event", "x", "y"
ENOUGH = 100
"""Some machines feed themselves for ever: after so many events both sides do nothing any more."""
UNIT_S = 1 / 1024
"""Times are whole multiples of this, so that floats add up exactly."""


@attrs.frozen
class Act:
    """One timeout action: a delay, a cancellation or an update."""

    timer: str
    delay: int | Literal["cancel", "update"]


@attrs.frozen
class Rule:
    """What a machine does in one state with one word: `to` is a state, `again`, or `stay`."""

    to: str = "stay"
    is_postponed: bool = False
    inserted: list[str] = attrs.field(factory=list[str])
    acts: list[Act] = attrs.field(factory=list[Act])


Rules = dict[tuple[str, str], Rule]
Enters = dict[str, list[Act]]
Script = list[tuple[int, str]]
"""What is cast, and how many seconds later than what was cast before; -1: in the same step."""

ACTS = st.builds(Act, st.sampled_from(TIMERS), st.sampled_from([0, 1, 2, 3, "cancel", "update"]))
RULES = st.builds(
    Rule,
    to=st.sampled_from(["stay", "again", *STATES]),
    is_postponed=st.booleans(),
    inserted=st.lists(st.sampled_from(WORDS), max_size=2),
    acts=st.lists(ACTS, max_size=3),
)
SEEN = [*WORDS, *(f"{timer}!" for timer in TIMERS)]
TABLES = st.dictionaries(
    st.tuples(st.sampled_from(STATES), st.sampled_from(SEEN)), RULES, min_size=6
)
ENTERS = st.dictionaries(st.sampled_from(STATES), st.lists(ACTS, max_size=2))
SCRIPTS = st.lists(st.tuples(st.integers(-1, 3), st.sampled_from(WORDS)), min_size=4, max_size=12)


def times_of(script: Script) -> list[int]:
    """When each word is cast, in units.

    Each is a unit later than a whole number of seconds after the one before. So no timer, which
    runs for whole seconds, is ever over in the same instant as a later cast.
    """
    waits = [0 if wait == -1 else wait * 1024 + 1 for wait, _ in script]
    return list(itertools.accumulate(waits))


@attrs.define
class Model:
    """`own` is next, `due` comes when that is empty, `future` when its time has come."""

    rules: Rules
    enters: Enters
    log: list[str] = attrs.field(factory=list[str])
    state: str = "a"
    now: int = 0
    handled: int = 0
    own: list[str] = attrs.field(factory=list[str])
    late: list[str] = attrs.field(factory=list[str])
    due: list[str] = attrs.field(factory=list[str])
    future: list[tuple[int, int, str]] = attrs.field(factory=list[tuple[int, int, str]])
    contents: dict[str, str] = attrs.field(factory=dict[str, str])
    set_so_far: int = 0

    def run(self, script: Script) -> list[str]:
        self.act(self.enter("a"))
        self.settle()
        for at, (_, word) in zip(times_of(script), script, strict=True):
            self.expire_until(at)
            self.now = at
            self.handle(word, word)
            self.settle()
        self.expire_until(10**9)
        return self.log

    def expire_until(self, at: int) -> None:
        while self.future and min(self.future)[0] <= at:
            entry = min(self.future)
            self.future.remove(entry)
            self.now = entry[0]
            self.time_out(entry[2])
            self.settle()

    def settle(self) -> None:
        while self.own or self.due:
            if self.own:
                word = self.own.pop(0)
                self.handle(word, word.partition("!")[0] + "!" if "!" in word else word)
            else:
                self.time_out(self.due.pop(0))

    def time_out(self, timer: str) -> None:
        self.handle(f"{timer}!{self.contents[timer]}", f"{timer}!")

    def handle(self, word: str, key: str) -> None:
        self.log.append(f"{self.handled} {self.state}:{word}")
        self.handled += 1
        rule = self.rules.get((self.state, key), Rule()) if self.handled < ENOUGH else Rule()
        old, acts = self.state, list(rule.acts)
        if rule.to in STATES:
            self.state = rule.to
        if rule.to == "again" or self.state != old:
            acts += self.enter(old)
        if rule.is_postponed:
            self.late.append(word)
        self.stop("event")
        if self.state != old:
            self.stop("state")
            self.own = self.late + self.own
            self.late = []
        self.act(acts)
        self.own = rule.inserted + self.own

    def enter(self, old: str) -> list[Act]:
        self.log.append(f"{old}>{self.state}")
        return self.enters.get(self.state, [])

    def act(self, acts: list[Act]) -> None:
        for number, act in enumerate(acts):
            if any(later.timer == act.timer for later in acts[number + 1 :]):
                continue
            is_set = act.timer in self.due or any(act.timer == entry[2] for entry in self.future)
            if act.delay == "update" and is_set:
                self.contents[act.timer] = "updated"
            elif act.delay == "update":
                self.due.append(act.timer)
                self.contents[act.timer] = "updated"
            else:
                self.stop(act.timer)
                self.contents[act.timer] = str(act.delay)
                if act.delay == 0:
                    self.due.append(act.timer)
                elif act.delay != "cancel":
                    self.set_so_far += 1
                    at = self.now + act.delay * 1024
                    self.future.append((at, self.set_so_far, act.timer))

    def stop(self, timer: str) -> None:
        self.due = [other for other in self.due if other != timer]
        self.future = [entry for entry in self.future if entry[2] != timer]


class Ruled(StateMachine[str, int]):
    """The same machine for real; its data counts the events."""

    states = STATES

    def __init__(self, rules: Rules, enters: Enters, log: list[str]) -> None:
        self.rules = rules
        self.enters = enters
        self.log = log

    def begin(self) -> Initial[str, int]:
        return Initial("a", data=0)

    async def handle_event(self, event: StateEvent, state: str, data: int) -> Answer[str, int]:
        word, key = read(event)
        self.log.append(f"{data} {state}:{word}")
        data += 1
        rule = self.rules.get((state, key), Rule()) if data < ENOUGH else Rule()
        inserted: list[Action] = [Insert(InternalEvent(word)) for word in rule.inserted]
        actions = [*([POSTPONE] if rule.is_postponed else []), *inserted, *map(do, rule.acts)]
        if rule.to in STATES:
            return Go(rule.to, *actions, data=data)
        if rule.to == "again":
            return Repeat(*actions, data=data)
        return Keep(*actions, data=data)

    def enter(self, state: str, previous: str, data: int) -> EnterAnswer[int]:
        self.log.append(f"{previous}>{state}")
        return Keep(*map(do, self.enters.get(state, ())))


def do(act: Act) -> SetTimeout | CancelTimeout | UpdateTimeout:
    timer = {"state": Timeout.STATE, "event": Timeout.EVENT}.get(act.timer, act.timer)
    match act.delay:
        case "cancel":
            return CancelTimeout(timer)
        case "update":
            return UpdateTimeout(timer, "updated")
        case delay_s:
            return SetTimeout(timer, delay_s, str(delay_s))


def read(event: StateEvent) -> tuple[str, str]:
    """What the log says of an event, and the key of its rule."""
    match event:
        case CastEvent(str(word)) | InternalEvent(str(word)):
            return word, word
        case TimeoutEvent(timer, content):
            name = timer.value if isinstance(timer, Timeout) else str(timer)
            return f"{name}!{content}", f"{name}!"
        case _:
            raise AssertionError(event)


@given(TABLES, ENTERS, SCRIPTS)
def test_a_machine_does_what_lists_would_do(rules: Rules, enters: Enters, script: Script) -> None:
    log: list[str] = []

    async def main() -> None:
        async with open_runtime() as runtime:
            ref = await runtime.start(lambda: Ruled(rules, enters, log))
            now = 0
            for at, (_, word) in zip(times_of(script), script, strict=True):
                if at > now:
                    await trio.sleep((at - now) * UNIT_S)
                    now = at
                ref.cast(word)
            await trio.sleep(10**6)
            assert ref.is_alive()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert log == Model(rules, enters).run(script)

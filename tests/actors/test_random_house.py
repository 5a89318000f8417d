"""Whatever happens to a house, and whenever: what its logs say afterwards holds together."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import attrs
import pytest
import trio
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from autonomics.actors.message import ReceiptView, Unplaced
from autonomics.errors import AutonomicsError
from autonomics.receipts import verify
from autonomics.receipts.leaf import decode_leaf
from autonomics.recipes.history import History
from autonomics.recipes.record import Received, parse_decided, parse_payload, parse_received
from autonomics.recipes.replay import replay
from autonomics.testing.cloud_fault import Conflict, Fail, Hang, Late, Lost
from autonomics.testing.house import House, open_house, shipped_recipes

TENANTS = ("acme", "birch")
ROLES = ("receipt_writer", "gate_watchdog", "attempts", "executor", "governor")
PATHS = (
    "disk/front",
    "disk/store_writer",
    "ledger/platform",
    "ledger/keyring",
    "control/line",
    "tenants/pool",
    "tenants/warden",
    "tenants/router",
)
SCOPES = ("line", "tenant:acme", "recipe:run.oom_memory_limit")
LATE = "cedar"
FOLDED = ("decided", "intent", "outcome", "verified", "rolled_back", "approval")
# Three restarts within five seconds are what a supervisor forgives.
BETWEEN_KILLS_S = 2.0
CALM_S = 400.0


@attrs.frozen
class Say:
    tenant: str
    what: str
    number: int


@attrs.frozen
class Kill:
    tenant: str
    role: str


@attrs.frozen
class KillPath:
    path: str


@attrs.frozen
class Wait:
    seconds: float


@attrs.frozen
class Restart:
    cut: bool


@attrs.frozen
class StoreFault:
    moment: Any


@attrs.frozen
class StoreAway:
    seconds: float


@attrs.frozen
class CloudFault:
    call: str
    fault: Any


@attrs.frozen
class StoreSlow:
    before_s: float
    after_s: float


@attrs.frozen
class StopLine:
    scope: str


@attrs.frozen
class ClearLine:
    scope: str


@attrs.frozen
class Park:
    number: int


@attrs.frozen
class CreateLate:
    pass


def steps() -> st.SearchStrategy[Any]:
    tenants = st.sampled_from(TENANTS)
    say = st.builds(Say, tenants, st.sampled_from(("noise", "oom", "quota")), st.integers(0, 5))
    faults = st.sampled_from(
        (Late(0.5), Fail(), Conflict(), Lost(has_effect=True), Lost(has_effect=False), Hang())
    )
    calls = st.sampled_from(("run.services.patch", "run.services.get", "read_back"))
    return st.one_of(
        say,
        say,
        say,
        st.builds(Kill, tenants, st.sampled_from(ROLES)),
        st.builds(KillPath, st.sampled_from(PATHS)),
        st.builds(Wait, st.sampled_from((0.0, 0.001, 0.3, 3.0, 130.0))),
        st.builds(Restart, st.booleans()),
        st.builds(StoreFault, st.sampled_from(("before", "after"))),
        st.builds(StoreAway, st.sampled_from((0.3, 8.0))),
        st.builds(CloudFault, calls, faults),
        st.builds(StoreSlow, st.sampled_from((0.0, 0.2, 2.0)), st.sampled_from((0.0, 0.3))),
        st.builds(StopLine, st.sampled_from(SCOPES)),
        st.builds(ClearLine, st.sampled_from(SCOPES)),
        st.builds(Park, st.integers(0, 3)),
        st.just(CreateLate()),
    )


class Sender:
    """Sends without waiting, and remembers what was acknowledged."""

    def __init__(self, house: House, nursery: trio.Nursery) -> None:
        self._house = house
        self._nursery = nursery
        self.acknowledged: dict[str, tuple[str, str]] = {}
        self.parked: set[str] = set()

    def send(self, step: Say) -> None:
        house = self._house
        body: object = {"textPayload": "all is well", "number": step.number}
        if step.what == "oom":
            body = house.oom(step.tenant, step.number)
        elif step.what == "quota":
            body = {"kind": "quota", "quota": "signals", "used": 9, "limit": 10}
        self._nursery.start_soon(self._tell, step, body)

    def ask(self, question: Callable[[], Awaitable[object]]) -> None:
        """Ask for something that may be refused at any time."""
        self._nursery.start_soon(self._ask, question)

    async def _ask(self, question: Callable[[], Awaitable[object]]) -> None:
        with suppress(AutonomicsError, AssertionError):
            await question()

    async def park(self, number: int) -> None:
        body = json.dumps({"number": number}).encode()
        message = Unplaced("unknown_tenant", "", "k", "park", f"p-{number}", body, tenant_id=LATE)
        parked = await self._house.control.park(message)
        self.acknowledged[parked.receipt.id] = ("platform", message.message_id)
        self.parked.add(message.message_id)

    async def _tell(self, step: Say, body: object) -> None:
        message_id = f"{step.what}-{step.number}"
        try:
            accepted = await self._house.tell(step.tenant, body, message_id)
        except (AutonomicsError, AssertionError):
            return  # not acknowledged: nothing was promised
        self.acknowledged[accepted.receipt.id] = (step.tenant, message_id)


async def play(schedule: list[Any]) -> None:
    async with open_house() as house, trio.open_nursery() as nursery:
        for tenant in TENANTS:
            await house.create(tenant, {"signals": 10})
        sender = Sender(house, nursery)
        for step in schedule:
            await take(house, sender, step)
        house.faults.heal()
        with trio.move_on_after(CALM_S):
            while True:
                await trio.sleep(20.0)
        assert house.fell is None, f"the root gave up: {house.fell}"
        await start_line_again(house)
        if await house.control.tenant(LATE) is None:
            await house.create(LATE)
        house.handles[LATE] = (await house.tenant(LATE)).handle
        assert await house.settle(1500.0), await house.control.tree()
        await house.restart()
        assert await house.settle(1500.0)
        await audit(house, sender.acknowledged)
        replayed = [row["signal"]["message_id"] for row in await house.payloads(LATE, "received")]
        assert len(replayed) == len(set(replayed))
        assert sender.parked <= set(replayed)
        nursery.cancel_scope.cancel()


async def start_line_again(house: House) -> None:
    """Clear every stop; the line is the same after a restart."""
    before = await house.control.line()
    await house.restart()
    await trio.sleep(1.0)
    # Not compared is since when: a stop that had to wait for the store dates from its receipt then.
    after = await house.control.line()
    assert after.generation == before.generation
    stops = [
        [(stop.scope, stop.reason, stop.by) for stop in each.stops] for each in (before, after)
    ]
    assert stops[0] == stops[1]
    for stop in before.stops:
        await house.control.clear_line(stop.scope, "cause", "fix", "prevention", "me")


async def take(house: House, sender: Sender, step: Any) -> None:  # noqa: C901 - a table of steps
    match step:
        case Say():
            sender.send(step)
        case Kill(tenant, role):
            house.kill(tenant, role)
            await trio.sleep(BETWEEN_KILLS_S)
        case KillPath(path):
            house.kill_path(path)
            await trio.sleep(BETWEEN_KILLS_S)
        case Wait(seconds):
            await trio.sleep(seconds)
        case Restart(cut):
            await house.restart(cut=cut)
        case StoreFault(moment):
            house.faults.fail_next(moment)
        case StoreAway(seconds):
            house.faults.is_away = True
            house.kill_path("disk/store_writer")
            await trio.sleep(seconds)
            house.faults.is_away = False
        case CloudFault(call, fault):
            house.cloud.script(call, fault)
        case StoreSlow(before_s, after_s):
            house.faults.before_s, house.faults.after_s = before_s, after_s
        case StopLine(scope):
            sender.ask(lambda: house.control.stop_line(scope, "smoke", "me"))
        case ClearLine(scope):
            sender.ask(lambda: house.control.clear_line(scope, "cause", "fix", "prevention", "me"))
        case Park(number):
            sender.ask(lambda: sender.park(number))
        case CreateLate():
            sender.ask(lambda: house.create(LATE))
        case _:
            raise AssertionError(step)


async def audit(house: House, acknowledged: dict[str, tuple[str, str]]) -> None:
    assert house.cloud.doubled_effects() == {}
    seen: set[str] = set()
    for name in (*TENANTS, LATE, "platform"):
        log = await house.log(name)
        seen |= {view.id for view in log}
        check_log(log)
        if name != "platform":
            check_signals(log)
            check_decisions(log)
        await check_export(house, name)
    raises = Counter(
        payload["action_id"] for payload in await house.payloads("platform", "entitlement")
    )
    assert not [action for action, times in raises.items() if times > 1]
    assert acknowledged.keys() <= seen


def check_log(log: list[ReceiptView]) -> None:
    """Gap-free, no key twice, no epoch back."""
    assert [view.seq for view in log] == list(range(len(log)))
    leaves = [decode_leaf(view.leaf) for view in log]
    keys = Counter(leaf.idem for leaf in leaves if leaf.idem is not None)
    assert not [key for key, times in keys.items() if times > 1]
    epochs = [leaf.epoch for leaf in leaves]
    assert epochs == sorted(epochs)


def check_signals(log: list[ReceiptView]) -> None:
    """One decision a signal, one outcome an intent."""
    leaves = {view.seq: decode_leaf(view.leaf) for view in log}
    causes = {
        kind: Counter(seq for leaf in leaves.values() if leaf.kind == kind for seq in leaf.cause)
        for kind in ("decided", "outcome")
    }
    for seq, leaf in leaves.items():
        if leaf.kind == "received":
            assert causes["decided"][seq] == 1, f"signal {seq}"
        if leaf.kind == "intent":
            assert causes["outcome"][seq] == 1, f"intent {seq}"


def check_decisions(log: list[ReceiptView]) -> None:
    """Every decision comes out the same when it is made again; every act had all permits."""
    history = History.empty()
    received: dict[int, Received] = {}
    for view in log:
        leaf = decode_leaf(view.leaf)
        if view.kind == "received":
            assert view.payload is not None
            received[view.seq] = parse_received(view.payload)
        if view.kind == "decided":
            assert view.payload is not None
            recorded = parse_decided(view.payload)
            again = replay(received[leaf.cause[0]], recorded, history, shipped_recipes())
            assert again.status == "same", view.id
            if recorded.answer == "act":
                assert not [each for each in recorded.verdicts if each["ruling"] == "refuses"]
        if view.kind in FOLDED:
            assert view.payload is not None
            history = history.apply(view.kind, parse_payload(view.payload), view.seq, leaf.at)


async def check_export(house: House, log: str) -> None:
    files = dict(await house.control.export(log))
    trust = verify.gather_trust([await house.control.verifier_key(log)], None)
    verdict = verify.verify_bundle(files.get, trust)
    assert verdict.code == 10, verdict


@settings(
    max_examples=60,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(steps(), min_size=4, max_size=30))
def test_whatever_happens_the_logs_hold_together(schedule: list[Any]) -> None:
    note(f"schedule: {schedule}")
    trio.run(play, schedule, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("at_s", [0.0, 0.001, 0.5])
def test_a_kill_in_the_middle_of_an_act_leaves_one_outcome(role: str, at_s: float) -> None:
    schedule = [
        CloudFault("run.services.patch", Late(1.0)),
        Say("acme", "oom", 0),
        Wait(0.3),
        Say("acme", "oom", 1),
        Wait(at_s),
        Kill("acme", role),
    ]
    trio.run(play, schedule, clock=MockClock(autojump_threshold=0))

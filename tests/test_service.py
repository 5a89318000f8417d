"""The composition root: what is started, in which order it stops, and what a bad start says."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from autonomics.actors.message import Accepted
from autonomics.actors.tree_control_plane import TreeControlPlane
from autonomics.config import Settings, load_settings
from autonomics.errors import (
    DataFolderBusy,
    InvalidConfig,
    StartFailed,
    StoreUnavailable,
    StoreUnusable,
)
from autonomics.runtime import Worker
from autonomics.service import (
    BLOCKED_AFTER_S,
    Doors,
    Parts,
    find_cause,
    open_parts,
    open_service,
    read_library,
    system_source,
)
from autonomics.storage.memory import MemoryMedium, MemoryStore
from autonomics.storage.sqlite import SqliteStore
from autonomics.storage.stdout import StdoutStore
from autonomics.supervisors import ChildSpec, TreeNode
from autonomics.telemetry import listening
from autonomics.testing.faulty_store import FaultyStore, StoreFaults
from autonomics.testing.house import SeededSigner, open_house
from autonomics.testing.stage import recording


def parts(**more: Any) -> Parts:
    medium = MemoryMedium()
    plain = Parts(
        settings=load_settings({"store": "memory"}, environ={}),
        open_store=lambda: MemoryStore(medium),
        signer=SeededSigner(),
    )
    return attrs.evolve(plain, **more)


def ignore(_event: str, _fields: Mapping[str, object]) -> None:
    """Write nothing."""


def draw(node: TreeNode) -> dict[str, object]:
    return {child.id: draw(child) for child in node.children}


def say_nothing(event: str, fields: Mapping[str, object]) -> None:
    """Take an event."""


class Door(Worker):
    """A door that says when it opens and closes."""

    def __init__(self, log: list[str], *, breaks: bool = False) -> None:
        self._log = log
        self._breaks = breaks

    async def run(self, started: Any) -> None:
        if self._breaks:
            raise ValueError("the door is stuck")
        self._log.append("open")
        started()
        try:
            await trio.sleep_forever()
        finally:
            self._log.append("closed")


async def test_the_tree_is_as_the_design_draws_it(autojump_clock: MockClock) -> None:
    async with open_service(parts(write_event=say_nothing)) as service:
        assert draw(await service.control.tree()) == {
            "observability": {"event_log": {}},
            "control": {
                "ledger": {
                    "disk": {"front": {}, "store_writer": {}},
                    "platform": {},
                    "keyring": {},
                    "doorkeeper": {},
                },
                "line": {},
                "tenants": {"pool": {}, "warden": {}, "router": {}},
                "ingress": {},
            },
        }


async def test_doors_open_last_and_close_first_and_nothing_is_left(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []

    def ingress(_control: TreeControlPlane) -> list[ChildSpec]:
        return [ChildSpec(id="door", start=lambda: Door(log))]

    with recording() as events:
        async with open_service(parts(ingress=ingress)) as service:
            runtime = service.runtime
            assert log == ["open"]
        assert log == ["open", "closed"]

    assert runtime.living() == ()
    ends = [str(fields["path"]) for event, fields in events if event == "actor.stopped"]
    order = ["ingress/door", "tenants/router", "control/line", "disk/store_writer", "root"]
    places = [next(i for i, path in enumerate(ends) if path.endswith(end)) for end in order]
    assert places == sorted(places)
    started = {fields["path"] for event, fields in events if event == "actor.started"}
    assert set(ends) == started


async def test_a_tenant_stops_before_the_ledger_and_loses_nothing(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house:
        await house.create("acme")
        house.faults.before_s = 0.5
        answers: list[Accepted] = []

        async def tell() -> None:
            answers.append(await house.tell("acme", {"a": 1}))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell)
            await trio.sleep(0.6)
        house.faults.before_s = 0.0
        await house.restart()
        await house.settle()
        assert (await house.kinds("acme")).count("decided") == 1
        assert answers


async def test_a_start_that_fails_tells_its_one_cause_and_leaves_nothing(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []

    def ingress(_control: TreeControlPlane) -> list[ChildSpec]:
        return [
            ChildSpec(id="good", start=lambda: Door(log)),
            ChildSpec(id="bad", start=lambda: Door(log, breaks=True)),
        ]

    with pytest.raises(StartFailed) as failed:
        async with open_service(parts(ingress=ingress)):
            raise AssertionError("it must not come up")

    cause = find_cause(failed.value)
    assert isinstance(cause, ValueError)
    assert str(cause) == "the door is stuck"
    assert log == ["open", "closed"]


async def test_a_store_that_can_not_be_opened_is_the_cause(autojump_clock: MockClock) -> None:
    faults = StoreFaults(is_away=True)

    with pytest.raises(StartFailed) as failed:
        async with open_service(parts(open_store=lambda: FaultyStore(MemoryMedium(), faults))):
            raise AssertionError("it must not come up")

    assert isinstance(find_cause(failed.value), StoreUnavailable)


def test_a_start_that_failed_for_no_error_has_no_cause() -> None:
    assert find_cause(StartFailed("x", "because")) is None


async def test_an_observer_that_fails_harms_nobody(autojump_clock: MockClock) -> None:
    written: list[str] = []

    def write(event: str, fields: Mapping[str, object]) -> None:
        written.append(event)
        if len(written) < 5:
            raise OSError("no space left")

    async with open_service(parts(write_event=write)) as service:
        await trio.sleep(60)
        with listening("probe", say_nothing):
            await service.control.stop_line("line", "smoke", "me")
        await trio.sleep(5)
        health = await service.control.health()

    assert health.readiness == "line_stopped"
    assert "line.stopped" in written


async def test_events_are_written_while_the_service_lives_and_not_after(
    autojump_clock: MockClock,
) -> None:
    written: list[tuple[str, dict[str, object]]] = []

    def write(event: str, fields: Mapping[str, object]) -> None:
        written.append((event, dict(fields)))

    async with open_service(parts(write_event=write)) as service:
        ref = next(ref for ref in service.runtime.living() if ref.path.endswith("event_log"))
        ref.kill()
        await trio.sleep(1)
        await service.control.stop_line("line", "smoke", "me")
        await trio.lowlevel.checkpoint()
    assert ("line.stopped", {"scope": "line", "reason": "smoke", "by": "me"}) in written
    assert [event for event, _ in written].count("line.stopped") == 1
    count = len(written)
    async with open_service(parts()):
        pass
    assert len(written) == count


async def test_a_blocked_loop_is_written_to_the_log_while_it_is_blocked() -> None:
    """By the watchdog's thread; a real clock, as everywhere with threads."""
    written: list[tuple[str, Mapping[str, object]]] = []
    seen = threading.Event()

    def write(event: str, fields: Mapping[str, object]) -> None:
        written.append((event, fields))
        if event == "runtime.blocked" and fields["path"] is None:
            seen.set()

    async with open_service(parts(write_event=write, blocked_after_s=0.1)) as service:
        assert seen.wait(60)
        await service.control.stop_line("line", "smoke", "me")
    assert "line.stopped" in [event for event, _ in written]


def test_a_served_folder_has_its_loop_watched(tmp_path: Path) -> None:
    with open_parts(settings_in(tmp_path)) as found:
        assert found.blocked_after_s == BLOCKED_AFTER_S
    assert parts().blocked_after_s is None


def test_the_service_can_be_imported_without_the_server() -> None:
    code = (
        "import sys, autonomics.service; "
        "print([name for name in ('quart', 'hypercorn', 'httpx2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"


def test_the_shipped_library_is_read_in_one_order() -> None:
    names = [name for name, _ in read_library()]
    assert names == sorted(names)
    assert "run/oom_memory_limit.toml" in names


def test_the_machines_source_gives_aware_times_and_fresh_bytes() -> None:
    source = system_source()
    assert source.clock().tzinfo is not None
    assert source.random_bytes(16) != source.random_bytes(16)
    assert source.monotonic() <= source.monotonic()


def settings_in(folder: Path, **more: object) -> Settings:
    return load_settings({"data": folder / "data", "port": 0, **more}, environ={})


@pytest.mark.parametrize(
    ("store", "kind"), [("sqlite", SqliteStore), ("memory", MemoryStore), ("stdout", StdoutStore)]
)
def test_the_store_is_the_one_of_the_settings(store: Any, kind: Any, tmp_path: Path) -> None:
    with open_parts(settings_in(tmp_path, store=store)) as found:
        assert isinstance(found.open_store(), kind)
        assert list(found.ingress(cast("TreeControlPlane", None))) == []


def test_a_data_folder_is_held_by_one_service_at_a_time(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with (
        open_parts(settings) as first,
        pytest.raises(DataFolderBusy),
        open_parts(settings),
    ):
        raise AssertionError("two services in one folder")
    with open_parts(settings) as second:
        assert second.signer.public_key == first.signer.public_key


def test_a_foreign_file_is_refused_and_stays_as_it_was(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    settings.data.mkdir()
    path = settings.data / "ledger.sqlite"
    path.write_bytes(b"my holiday photographs" * 100)

    with pytest.raises(StoreUnusable), open_parts(settings):
        raise AssertionError("it must not open")

    assert [entry.name for entry in settings.data.iterdir()] == ["ledger.sqlite"]
    assert path.read_bytes() == b"my holiday photographs" * 100


async def test_a_service_on_a_data_folder_has_its_doors_and_outlives_its_writer(
    tmp_path: Path,
) -> None:
    urls: list[str] = []
    doors = Doors(on_bound=urls.append)
    with open_parts(settings_in(tmp_path), doors=doors) as found:
        async with open_service(found) as service:
            assert urls[0].startswith("http://127.0.0.1:")
            assert (tmp_path / "data" / "control.sock").exists()
            await service.control.create_tenant("acme", "Acme", "standard", "me")
            ref = next(r for r in service.runtime.living() if r.path.endswith("store_writer"))
            ref.kill()
            await ref.wait_down()
            with trio.fail_after(20):
                while (await service.control.health()).readiness != "ready":
                    await trio.sleep(0.05)
            assert [view.id for view in await service.control.tenants()] == ["acme"]
            await service.control.stop_line("tenant:acme", "smoke", "me")
    with open_parts(settings_in(tmp_path)) as found:
        async with open_service(found) as service:
            assert [view.id for view in await service.control.tenants()] == ["acme"]
            with trio.fail_after(20):
                while not (await service.control.line()).stops:
                    await trio.sleep(0.05)


def test_a_store_without_its_signing_key_is_refused(tmp_path: Path) -> None:
    with open_parts(settings_in(tmp_path)) as found:
        trio.run(open_and_close, found)
    (tmp_path / "data" / "signing-key").unlink()
    before = {path.name for path in (tmp_path / "data").iterdir()}
    with pytest.raises(InvalidConfig, match="put it back"), open_parts(settings_in(tmp_path)):
        raise AssertionError("it must not open")
    assert {path.name for path in (tmp_path / "data").iterdir()} == before


async def open_and_close(found: Parts) -> None:
    async with open_service(found):
        await trio.lowlevel.checkpoint()

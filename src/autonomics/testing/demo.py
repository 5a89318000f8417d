"""The main job, end to end, in one process: five tenants, real HTTP, kills, and an audit."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio

from autonomics.actors.message import PLATFORM
from autonomics.config import Settings, load_settings
from autonomics.errors import CommandFailed, StartFailed
from autonomics.service import (
    Doors,
    Parts,
    Service,
    find_cause,
    open_parts,
    open_service,
    system_source,
)
from autonomics.supervisors import TreeNode
from autonomics.testing.demo_audit import Audit, Finding
from autonomics.testing.demo_incident import (
    LATE_TENANT,
    QUOTA,
    QUOTA_LIMIT,
    TENANTS,
    Play,
    set_up,
)
from autonomics.testing.demo_load import Load
from autonomics.testing.demo_signal import (
    Json,
    Push,
    everyday,
    malformed,
    read_samples,
    wrap,
)
from autonomics.testing.demo_view import (
    View,
    Watcher,
    describe_result,
    detail_of,
    is_terminal,
    summarize,
)
from autonomics.testing.local_cloud import LocalCloud
from autonomics.testing.local_server import serve_cloud

LEAST_SIGNALS = 216
EVERY_S = 0.035
SENDING_S = 25.0
SETTLE_WITHIN_S = 15.0
MEAN_LIMIT_MS = 100.0
KILLED = ("governor", "executor", "receipt_writer")
RECIPES = (
    "ent.quota_near_limit",
    "run.crashloop_exit",
    "run.max_instances_reached",
    "run.oom_memory_limit",
    "run.scale_rate_exceeded",
)


def add_arguments(parser: ArgumentParser) -> None:
    """Add the demo's own options."""
    parser.add_argument("--data", type=Path, help="keep the ledger in this new or empty folder")
    parser.add_argument(
        "--signals", type=Path, help="send the samples.jsonl files of this folder instead"
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def run_demo(options: Namespace) -> int:
    """Run the demo; 0 if nothing was lost or done twice, all verifies, and diagnosis was fast."""
    samples = read_samples(options.signals) if options.signals else None
    with _data_folder(options.data) as folder:
        stream = sys.stderr if options.json else sys.stdout
        try:
            result, finding = trio.run(_Demo(folder, samples, stream).run)
        except StartFailed as error:
            raise CommandFailed(str(find_cause(error) or error)) from None
    problems = list(find_problems(result, finding))
    if options.json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        sys.stdout.write("\n".join(describe_result(result, finding.kills)) + "\n")
        for problem in problems:
            sys.stdout.write(f"FAILED: {problem}\n")
        sys.stdout.write(f"\nnext: {next_command(options.data)}\n")
    return 1 if problems else 0


def next_command(kept: Path | None) -> str:
    """Return what to type next, for this very installation and the ledger that was kept."""
    program = Path(sys.executable).parent / "autonomics"
    shown = program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program
    if kept is not None:
        return f"{shown} receipts {TENANTS[0]} --data {shlex.quote(str(kept))}"
    return f"{shown} init && {shown} serve"


@contextmanager
def _data_folder(given: Path | None) -> Generator[Path]:
    if given is None:
        with tempfile.TemporaryDirectory(prefix="autonomics-demo-") as made:
            yield Path(made)
        return
    if given.exists() and (not given.is_dir() or any(given.iterdir())):
        raise CommandFailed(f"expected {given} to be a new or empty folder, got one in use")
    try:
        given.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandFailed(f"can't make the folder {given}: {error.strerror}") from None
    yield given


class _Demo:
    """One run: its tenants, its cloud, its traffic."""

    def __init__(self, folder: Path, samples: list[Json] | None, stream: Any) -> None:
        self._folder = folder
        self._samples = samples
        self._total = max(LEAST_SIGNALS, len(samples or ()))
        self._stream = stream
        self._source = system_source()
        self._cloud = LocalCloud(self._source.clock)
        self._handles: dict[str, str] = {}
        self._url = ""

    async def run(self) -> tuple[dict[str, Any], Finding]:
        """Serve, send, kill, settle, audit; the result and what the logs say."""
        set_up(self._cloud)
        doors = Doors(trust_tenant_attribute=True, on_bound=self._bound)
        async with serve_cloud(self._cloud) as cloud_url:
            with open_parts(self._settings(cloud_url), doors=doors) as parts, Watcher() as watcher:
                async with open_service(parts) as service:
                    return await self._play(parts, service, watcher)

    def _settings(self, cloud_url: str) -> Settings:
        """Reach the local cloud as one would reach Google: over HTTP, by settings alone."""
        settings = {
            "data": self._folder,
            "port": 0,
            "verify_wait_cap_s": 1.0,
            "google_credentials": "none",
            "google_run_url": cloud_url,
            "google_monitoring_url": cloud_url,
        }
        return load_settings(settings, environ={})

    def _bound(self, url: str) -> None:
        self._url = url

    async def _play(
        self, parts: Parts, service: Service, watcher: Watcher
    ) -> tuple[dict[str, Any], Finding]:
        view = View(self._stream, watcher, is_live=is_terminal(self._stream))
        admin = await service.control.create_key("admin", None, "demo")
        load = Load(self._url, service.runtime, {LATE_TENANT: admin.secret})
        play = Play(
            self._cloud,
            self._source.clock,
            service,
            load,
            watcher,
            lambda tenant: self._create(tenant, service, load),
        )
        await play.open()
        view.line(f"serving on {self._url}; {len(TENANTS)} tenants, {self._total} signals")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, view, service, load)
            async with trio.open_nursery() as traffic:
                traffic.start_soon(self._send_all, load)
                traffic.start_soon(play.run)
            await self._settle(service)
            nursery.cancel_scope.cancel()
        await load.close()
        view.line("auditing: reading every log, deciding again, exporting, verifying")
        finding = await self._audit(parts, service, load)
        return self._conclude(load, watcher, finding)

    async def _create(self, tenant: str, service: Service, load: Load) -> str:
        limits = {QUOTA: QUOTA_LIMIT} if tenant == TENANTS[0] else None
        plan = "standard"
        made = await service.control.create_tenant(tenant, tenant.title(), plan, "demo", limits)
        self._handles[tenant] = made.tenant.handle
        load.know(tenant, made.push_token.secret)
        return made.tenant.handle

    async def _watch(self, view: View, service: Service, load: Load) -> None:
        while True:
            tree = await service.control.tree()
            view.show(tree, load.tally.sent, self._total, _receipts(tree))
            await trio.sleep(0.5 if is_terminal(self._stream) else 1.0)

    # Traffic

    async def _send_all(self, load: Load) -> None:
        """Send the ordinary signals at an even pace, with repetitions and what can't be read."""
        async with trio.open_nursery() as nursery:
            for index in range(self._total):
                tenant = TENANTS[index % len(TENANTS)]
                push = self._push(tenant, index)
                nursery.start_soon(load.push, tenant, push)
                if index % 20 == 19:
                    nursery.start_soon(self._repeat, load, tenant, push)
                if index % 25 == 24:
                    nursery.start_soon(
                        load.push, TENANTS[1], malformed(index // 25, self._source.clock())
                    )
                await trio.sleep(min(EVERY_S, SENDING_S / self._total))

    def _push(self, tenant: str, index: int) -> Push:
        now = self._source.clock()
        body = (
            everyday(index // len(TENANTS), tenant, now)
            if self._samples is None
            else self._samples[index % len(self._samples)]
        )
        return wrap(json.dumps(body).encode(), f"m-{index}", now, {"tenant": tenant})

    @staticmethod
    async def _repeat(load: Load, tenant: str, push: Push) -> None:
        """Deliver the same message again, as Pub/Sub may at any time."""
        await trio.sleep(0.3)
        await load.push(tenant, push)

    async def _settle(self, service: Service) -> None:
        """Wait until every act has its last word."""
        with trio.move_on_after(SETTLE_WITHIN_S):
            while _is_busy(await service.control.tree()):  # noqa: ASYNC110 - no event tells
                await trio.sleep(0.2)

    # The end

    async def _audit(self, parts: Parts, service: Service, load: Load) -> Finding:
        audit = Audit(service.control, parts.recipes)
        names = {**self._handles, PLATFORM: PLATFORM}
        await audit.read_logs(list(names.values()), load.tally)
        bundles = self._folder / "bundles"
        await audit.verify(names, bundles)
        first = TENANTS[0]
        await audit.tamper(first, self._handles[first], bundles)
        audit.finding.doubled += [
            f"cloud effect {key[:12]}" for key in self._cloud.doubled_effects()
        ]
        return audit.finding

    def _conclude(
        self, load: Load, watcher: Watcher, finding: Finding
    ) -> tuple[dict[str, Any], Finding]:
        tally = load.tally
        result = {
            "signals_sent": tally.sent,
            "acknowledged": tally.acknowledgements,
            "duplicates": tally.duplicates,
            "malformed": tally.malformed,
            "diagnosed": finding.diagnosed,
            "no_recipe": finding.no_recipe,
            "refused": finding.refused,
            "decisions": finding.decisions,
            "actions": dict(sorted(finding.actions.items())),
            "outcomes": dict(sorted(finding.outcomes.items())),
            "rolled_back": finding.rolled_back,
            "restarts": watcher.restarts,
            "receipts": finding.receipts,
            "lost": len(finding.lost),
            "doubled": len(finding.doubled),
            "logs": finding.logs,
            "logs_verified": finding.logs_verified,
            "tamper_detected_at": finding.tamper_detected_at,
            "diagnosis_ms": summarize(finding.diagnosis_ms),
            "signal_to_decision_ms": summarize(tally.decision_ms),
        }
        finding.kills = watcher.kills
        return result, finding


def find_problems(result: dict[str, Any], finding: Finding) -> Iterator[str]:
    """Say what the demo promises and did not keep."""
    yield from _find_missing(finding)
    yield from _find_faults(finding)
    if result["diagnosis_ms"]["mean"] >= MEAN_LIMIT_MS:
        yield f"the mean diagnosis took {result['diagnosis_ms']['mean']} ms"


def _find_missing(finding: Finding) -> Iterator[str]:
    """Say what was to happen and has not."""
    if missed := [role for role in KILLED if role not in finding.kills]:
        yield f"never killed: {', '.join(missed)}"
    if not finding.decisions:
        yield "nothing was decided"
    if idle := [recipe for recipe in RECIPES if not finding.actions[recipe]]:
        yield f"never acted: {', '.join(idle)}"
    if not finding.rolled_back:
        yield "nothing was rolled back"
    if not finding.outcomes["unknown"]:
        yield "no outcome was unknown"


def _find_faults(finding: Finding) -> Iterator[str]:
    """Say what has happened and never may."""
    if finding.lost:
        yield f"acknowledged and lost: {', '.join(finding.lost[:5])}"
    if finding.doubled:
        yield f"done twice: {', '.join(finding.doubled[:5])}"
    if finding.logs_verified != finding.logs:
        yield f"{finding.logs - finding.logs_verified} of {finding.logs} logs do not verify"
    if finding.tamper_detected_at != finding.tampered_seq:
        yield (
            f"a byte was flipped in receipt {finding.tampered_seq}, "
            f"the verifier named {finding.tamper_detected_at}"
        )
    if finding.replayed_differently:
        yield f"{finding.replayed_differently} decisions come out differently when decided again"


def _receipts(node: TreeNode) -> int:
    return int(detail_of(node).get("receipts", 0)) + sum(
        _receipts(child) for child in node.children
    )


def _is_busy(node: TreeNode) -> bool:
    detail = detail_of(node)
    is_open = any(detail.get(name) for name in ("undecided", "open_acts", "open", "running"))
    return (is_open and node.id in ("governor", "executor")) or any(
        _is_busy(child) for child in node.children
    )

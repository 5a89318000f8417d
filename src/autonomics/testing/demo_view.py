"""What the demo shows: the live tree on a terminal, plain lines elsewhere, and the result."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any, Self, TextIO, cast

import attrs

from autonomics.supervisors import TreeNode
from autonomics.telemetry import subscribe, unsubscribe

LISTENER = "demo"
SPARE_LINES = 9  # the status, the last events, and the blank lines between
CLEAR = "\x1b[H\x1b[2J"


@attrs.define
class Watcher:
    """Counts what the tree says of itself."""

    restarts: int = 0
    kills: list[str] = attrs.Factory(list[str])
    decisions: int = 0
    decide_ms: list[float] = attrs.Factory(list[float])
    said: list[str] = attrs.Factory(list[str])
    started_at: float = attrs.Factory(time.perf_counter)

    def __enter__(self) -> Self:
        subscribe(LISTENER, self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        unsubscribe(LISTENER)

    def _listen(self, event: str, fields: Mapping[str, object]) -> None:
        match event, fields:
            case "child.restarted", {"path": path, "child": child}:
                self.restarts += 1
                self.say(f"restarted {path}/{child}")
            case "signal.decided", {"decide_ms": float(took_ms)}:
                self.decisions += 1
                self.decide_ms.append(took_ms)
            case "act.ended", {"result": result, "detail": detail}:
                self.say(f"act ended: {result} {detail}".rstrip())
            case "act.verified", {"result": result}:
                self.say(f"act verified: {result}")
            case "act.rolled_back", {"result": result}:
                self.say(f"act undone: {result}")
            case "tenant.unknown", {"tenant": tenant, "command": command}:
                self.say(f"no tenant {tenant}: parked until `{command}`")
            case _:
                pass

    def say(self, line: str) -> None:
        """Keep a line for whoever looks."""
        self.said.append(line)


class View:
    """Shows progress: the tree on a terminal, else one line a second."""

    def __init__(self, stream: TextIO, watcher: Watcher, *, is_live: bool) -> None:
        self._stream = stream
        self._watcher = watcher
        self._is_live = is_live
        self._shown = 0
        self._last = (time.perf_counter(), 0)

    def show(self, tree: TreeNode, sent: int, total: int, receipts: int) -> None:
        """Draw the present state."""
        watcher, now = self._watcher, time.perf_counter()
        since, before = self._last
        rate = (watcher.decisions - before) / max(now - since, 1e-6)
        self._last = (now, watcher.decisions)
        recent = watcher.decide_ms[-200:]
        mean = sum(recent) / len(recent) if recent else 0.0
        status = (
            f"{now - watcher.started_at:5.1f} s  sent {sent}/{total}  {rate:5.1f} decisions/s  "
            f"deciding takes {mean:.2f} ms  receipts {receipts}  restarts {watcher.restarts}"
        )
        if self._is_live:
            drawn = draw_tree(tree)
            if len(drawn) + SPARE_LINES > shutil.get_terminal_size().lines:
                drawn = draw_tree(tree, fold_below="pool")
            lines = [status, "", *drawn, "", *watcher.said[-6:]]
            self._stream.write(CLEAR + "\n".join(lines) + "\n")
        else:
            for line in watcher.said[self._shown :]:
                self._stream.write(f"        {line}\n")
            self._shown = len(watcher.said)
            self._stream.write(status + "\n")
        self._stream.flush()

    def line(self, text: str) -> None:
        """Say one thing."""
        self._stream.write(text + "\n")
        self._stream.flush()


def detail_of(node: TreeNode) -> dict[str, Any]:
    """Return what a node's actor says of itself; empty if it says nothing."""
    detail = node.detail
    return cast("dict[str, Any]", detail) if isinstance(detail, dict) else {}


def draw_tree(node: TreeNode, depth: int = 0, fold_below: str | None = None) -> list[str]:
    """Draw a tree, one line a node; the children of `fold_below` are one line each, all told."""
    marks: list[str] = []
    if node.restarts:
        marks.append(f"restarts {node.restarts}")
    if node.mailbox_depth:
        marks.append(f"mail {node.mailbox_depth}")
    shown = {name: value for name, value in detail_of(node).items() if name != "max_restarts"}
    marks += [f"{name} {value}" for name, value in shown.items() if value]
    state = "" if node.state == "running" else f" [{node.state}]"
    note = f"  ({', '.join(marks)})" if marks else ""
    lines = [f"{'  ' * depth}{node.id}{state}{note}"]
    for child in node.children:
        if node.id == fold_below:
            told = "; ".join(line.strip() for line in draw_tree(child)[1:] if "(" in line)
            lines.append(f"{'  ' * (depth + 1)}{child.id}  {told}")
        else:
            lines += draw_tree(child, depth + 1, fold_below)
    return lines


def summarize(values: Sequence[float]) -> dict[str, float]:
    """Return mean, median and 99th percentile, in the unit of the values."""
    if not values:
        return {"mean": 0.0, "p50": 0.0, "p99": 0.0}
    ranked = sorted(values)
    return {
        "mean": round(sum(ranked) / len(ranked), 4),
        "p50": round(ranked[len(ranked) // 2], 4),
        "p99": round(ranked[min(len(ranked) - 1, len(ranked) * 99 // 100)], 4),
    }


def describe_result(result: Mapping[str, Any], kills: Sequence[str]) -> list[str]:
    """Put the result into words."""
    acts = ", ".join(f"{name} {count}" for name, count in result["actions"].items()) or "none"
    outcomes = ", ".join(f"{name} {count}" for name, count in result["outcomes"].items()) or "none"
    diagnosis, decision = result["diagnosis_ms"], result["signal_to_decision_ms"]
    return [
        (
            f"signals    {result['signals_sent']} sent, {result['acknowledged']} acknowledged, "
            f"{result['duplicates']} duplicates, {result['malformed']} malformed"
        ),
        (
            f"decisions  {result['decisions']}: {result['diagnosed']} diagnosed, "
            f"{result['refused']} refused, {result['no_recipe']} without a recipe"
        ),
        f"acts       {acts}",
        f"outcomes   {outcomes}; {result['rolled_back']} rolled back",
        f"restarts   {result['restarts']} after {len(kills)} kills",
        (
            f"ledger     {result['receipts']} receipts in {result['logs']} logs, "
            f"{result['logs_verified']} verified, "
            f"{result['lost']} lost, {result['doubled']} doubled"
        ),
        f"tampering  one flipped byte is found at receipt {result['tamper_detected_at']}",
        f"diagnosis  mean {diagnosis['mean']} ms, p99 {diagnosis['p99']} ms",
        f"socket to durable decision  p50 {decision['p50']} ms, p99 {decision['p99']} ms",
    ]


def is_terminal(stream: TextIO) -> bool:
    """Tell whether somebody watches."""
    return stream.isatty()

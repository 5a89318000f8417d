"""How long `diagnose` takes on signals in the formats of real ones, facts at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from autonomics.recipes import (
    Fact,
    Outcome,
    RecipeSet,
    Signal,
    diagnose,
    needed_facts,
    normalise,
    parse_fixtures,
    parse_library,
)
from autonomics.service import read_library
from autonomics.testing.decision_stage import FACTS, NOW, open_decision_stage
from bench import Measurement, percentile, register

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "signals"
MEAN_LIMIT_MS = 100.0
ROUNDS = 20
WARM_UP_ROUNDS = 2


def built_messages() -> Iterator[dict[str, Any]]:
    """Build messages in the formats that arrive: entries, incidents, alerts, errors, texts."""
    fixtures = parse_fixtures(read_library())
    for name, fixture in fixtures.items():
        if isinstance(fixture, dict) and "platform_quota" not in name and "memory_" not in name:
            yield fixture
    for number in range(20):
        labels = {"project_id": "shop", "location": "europe-west1", "service_name": f"s{number}"}
        yield {
            "insertId": f"built-{number}",
            "logName": "projects/shop/logs/run.googleapis.com%2Frequests",
            "resource": {"type": "cloud_run_revision", "labels": labels},
            "severity": "WARNING",
            "httpRequest": {"status": 429, "requestUrl": f"https://s{number}.example.com/"},
            "textPayload": "The request was aborted because there was no available instance.",
            "timestamp": "2026-03-02T09:15:00Z",
        }
        yield {
            "insertId": f"killed-{number}",
            "logName": "projects/shop/logs/run.googleapis.com%2Fvarlog%2Fsystem",
            "resource": {"type": "cloud_run_revision", "labels": labels},
            "severity": "ERROR",
            "textPayload": "Memory limit of 512 MiB exceeded with 516 MiB used.",
            "timestamp": "2026-03-02T09:15:00Z",
        }
        yield {
            "labels": {"alertname": "KubePodNotReady", "namespace": f"n{number}"},
            "annotations": {"description": f"Pod p{number} has been in a non-ready state."},
            "startsAt": "2026-03-02T09:15:00Z",
        }
        yield {"error": {"code": 429, "message": "Quota exceeded.", "status": "RESOURCE_EXHAUSTED"}}
        yield {"text": f"Connection refused by 10.0.0.{number}"}
        yield {"kind": "quota", "quota": "signals", "used": number * 5, "limit": 100}


def shared_messages() -> Iterator[Mapping[str, Any]]:
    """Read the real signals, where they stand beside the project."""
    for path in sorted(SHARED.glob("*/samples.jsonl")):
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)["payload"]


def measure(signals: list[Signal], recipes: RecipeSet, rounds: int) -> Measurement:
    """Time `diagnose` alone: not the normalisation, and not the reading of facts."""
    stage = open_decision_stage()
    kill, history = stage.two_kills()
    facts = {
        request.key: Fact(key=request.key, value=stage.message(FACTS[request.name]), read_at=NOW)
        for signal in (*signals, kill)
        for request in needed_facts(signal, history, recipes, NOW)
    }
    took_ms: list[float] = []
    outcomes = dict.fromkeys(Outcome, 0)
    for number in range(WARM_UP_ROUNDS + rounds):
        for signal in (*signals, kill):
            started = perf_counter_ns()
            found = diagnose(signal, facts, history, recipes, NOW)
            elapsed_ms = (perf_counter_ns() - started) / 1e6
            if number >= WARM_UP_ROUNDS:
                took_ms.append(elapsed_ms)
                outcomes[found.outcome] += 1
    took_ms.sort()
    mean_ms = sum(took_ms) / len(took_ms)
    return Measurement(
        case="diagnosis",
        figures={
            "recipes": len(recipes.recipes),
            "signals": len(signals) + 1,
            "diagnoses": len(took_ms),
            **{outcome.value.lower(): count for outcome, count in outcomes.items()},
            "mean_ms": mean_ms,
            "p50_ms": percentile(took_ms, 50),
            "p99_ms": percentile(took_ms, 99),
            "max_ms": took_ms[-1],
        },
        exceeded=()
        if mean_ms < MEAN_LIMIT_MS
        else (f"mean {mean_ms:.3f} ms, the limit is {MEAN_LIMIT_MS:g} ms",),
    )


@register("diagnosis")
def measure_diagnosis() -> Measurement:
    """Measure on all messages, built and real."""
    messages = [*built_messages(), *shared_messages()]
    signals = [normalise(message) for message in messages]
    return measure(signals, parse_library(read_library()), ROUNDS)

"""From the socket to the durable decision: one caller of `/v1/signals` after the other.

Two commits lie on the way, so the floor is twice what the disk takes to sync; F is that time,
measured in the same folder in the same run.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from time import perf_counter

import httpx2
import trio

from autonomics.config import load_settings
from autonomics.service import Doors, open_parts, open_service
from bench import Measurement, percentile, register

SIGNALS = 200
WARM_UP = 20
SYNCS = 100
RECORD_BYTES = 600


def measure_sync_ms(folder: Path) -> float:
    """Return the median time of an fdatasync after an append of the size of a receipt."""
    took_ms: list[float] = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            file.write(b"x" * RECORD_BYTES)
            started = perf_counter()
            os.fdatasync(file.fileno())
            took_ms.append((perf_counter() - started) * 1000)
    return percentile(sorted(took_ms), 50)


async def measure(folder: Path, signals: int) -> list[float]:
    """Serve, create a tenant, and send signals over one connection; milliseconds each."""
    urls: list[str] = []
    settings = load_settings({"data": folder / "data", "port": 0}, environ={})
    took_ms: list[float] = []
    with open_parts(settings, doors=Doors(on_bound=urls.append)) as parts:
        async with open_service(parts) as service:
            made = await service.control.create_tenant("bench", "Bench", "standard", "bench")
            headers = {"Authorization": f"Bearer {made.api_key.secret}"}
            async with httpx2.AsyncClient(base_url=urls[0], trust_env=False) as client:
                for number in range(WARM_UP + signals):
                    body = {"textPayload": f"line {number}"}
                    started = perf_counter()
                    response = await client.post("/v1/signals", json=body, headers=headers)
                    took_ms.append((perf_counter() - started) * 1000)
                    response.raise_for_status()
    return sorted(took_ms[WARM_UP:])


@register("decision")
def measure_decision() -> Measurement:
    """Measure on the embedded store in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="autonomics-bench-") as made:
        folder = Path(made)
        sync_ms = measure_sync_ms(folder)
        took_ms = trio.run(measure, folder, SIGNALS)
    p50_ms = percentile(took_ms, 50)
    return Measurement(
        case="decision",
        figures={
            "signals": len(took_ms),
            "sync_ms": sync_ms,
            "p50_ms": p50_ms,
            "p99_ms": percentile(took_ms, 99),
            "p50_in_syncs": p50_ms / sync_ms,
        },
    )

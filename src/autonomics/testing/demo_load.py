"""The demo's traffic: pushes over real HTTP, and what became of each."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

import attrs
import httpx2
import trio

from autonomics.actors.receipt_view import parse_receipt_id
from autonomics.actors.router_message import tenant_actor
from autonomics.actors.writer_message import AwaitDecision
from autonomics.errors import ActorDied, CallTimedOut, NoSuchActor
from autonomics.runtime import Runtime
from autonomics.testing.demo_signal import Push

DECISION_WITHIN_S = 20.0
RETRY_S = 0.02
ATTEMPTS = 50


@attrs.define
class Tally:
    """What the senders have seen. `acknowledged` maps receipt ids to the message ids sent."""

    sent: int = 0
    duplicates: int = 0
    malformed: int = 0
    acknowledged: dict[str, str] = attrs.Factory(dict[str, str])
    acknowledgements: int = 0
    undecided: list[str] = attrs.Factory(list[str])
    decision_ms: list[float] = attrs.Factory(list[float])


class Load:
    """Sends pushes and waits for their decisions; keys by tenant id."""

    def __init__(self, url: str, runtime: Runtime, keys: Mapping[str, str]) -> None:
        self.tally = Tally()
        self._url = url
        self._runtime = runtime
        self._keys = dict(keys)
        self._http = httpx2.AsyncClient(base_url=url, timeout=30.0, trust_env=False)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def know(self, tenant_id: str, key: str) -> None:
        """Take note of a tenant's push token."""
        self._keys[tenant_id] = key

    async def push(self, tenant_id: str, push: Push) -> str | None:
        """Send one push and wait until it is decided; the receipt's id, or None if it has none.

        A sender is told to come again (429, 503) as Google's would be, and does.
        """
        started = time.perf_counter()
        answer = await self._send(tenant_id, push)
        if answer is None or "receipt" not in answer:
            return None
        receipt_id = str(answer["receipt"])
        self.tally.acknowledgements += 1
        self.tally.acknowledged[receipt_id] = push.message_id
        if answer.get("duplicate"):
            self.tally.duplicates += 1
        elif not receipt_id.startswith("platform."):
            if await self._decided(receipt_id):
                self.tally.decision_ms.append((time.perf_counter() - started) * 1000)
            else:
                self.tally.undecided.append(receipt_id)
        return receipt_id

    async def _send(self, tenant_id: str, push: Push) -> dict[str, Any] | None:
        headers = {
            "Authorization": f"Bearer {self._keys[tenant_id]}",
            "Content-Type": "application/json",
        }
        response = await self._post(push, headers)
        for _ in range(ATTEMPTS):
            if response.status_code not in (429, 503):
                break
            await trio.sleep(RETRY_S)
            response = await self._post(push, headers)
        if push.message_id.startswith("malformed-"):
            self.tally.malformed += 1
        if response.status_code not in (200, 202):
            return None
        return cast("dict[str, Any]", response.json())

    async def _post(self, push: Push, headers: Mapping[str, str]) -> httpx2.Response:
        self.tally.sent += 1
        return await self._http.post("/pubsub", content=push.body, headers=dict(headers))

    async def _decided(self, receipt_id: str) -> bool:
        """Wait until the decision is durable, whoever dies meanwhile."""
        handle, seq = parse_receipt_id(receipt_id)
        writer = self._runtime.named(tenant_actor(handle, "receipt_writer"))
        with trio.move_on_after(DECISION_WITHIN_S):
            while True:
                try:
                    await writer.call(AwaitDecision(seq), timeout_s=DECISION_WITHIN_S)
                except (ActorDied, NoSuchActor):
                    await trio.sleep(RETRY_S)
                except CallTimedOut:
                    return False
                else:
                    return True
        return False

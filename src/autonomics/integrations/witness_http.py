"""Carries requests to a witness over HTTP (C2SP tlog-witness, `add-checkpoint`)."""

from __future__ import annotations

from typing import Final

import httpx2
import trio

from autonomics.errors import EffectFailed, EffectUnknown
from autonomics.integrations.google_api import exchange
from autonomics.receipts.witness import Reply

TIMEOUT_S: Final = 10.0


class WitnessHttp:
    """`Post` to one witness; `url` is its submission prefix, as it stands in a policy.

    To ask twice does no harm, so whatever goes wrong on the way is a reply with status 0.
    """

    def __init__(
        self, client: httpx2.AsyncClient, url: str, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._client = client
        self._url = f"{url.rstrip('/')}/add-checkpoint"
        self._timeout_s = timeout_s

    async def __call__(self, body: bytes) -> Reply:
        """Send once; the whole exchange takes `timeout_s` at most."""
        request = self._client.build_request(
            "POST",
            self._url,
            content=body,
            headers={"Content-Type": "text/plain; charset=utf-8", "Accept-Encoding": "identity"},
        )
        with trio.move_on_after(self._timeout_s):
            try:
                status, headers, data = await exchange(self._client, request)
            except (EffectFailed, EffectUnknown) as error:
                return Reply(0, body=str(error).encode())
            return Reply(status, headers.get("Content-Type", ""), data)
        return Reply(0, body=b"no answer within %g s" % self._timeout_s)

"""The real adapters over the local cloud: what `service.py` makes of settings, made of a fake."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import httpx2
from attrs import frozen

from autonomics.integrations.google_api import open_client
from autonomics.integrations.google_credential import NoToken
from autonomics.integrations.google_monitoring import GoogleMonitoring
from autonomics.integrations.google_run import GoogleRun
from autonomics.recipes.effector import Effector, FactReader
from autonomics.testing.local_cloud import LocalCloud


@frozen
class Reach:
    """Who acts on the cloud and who reads it, by prefix of their calls."""

    effectors: dict[str, Effector]
    readers: dict[str, FactReader]


def reach_cloud(
    cloud: LocalCloud,
    clock: Callable[[], datetime],
    *,
    transport: httpx2.AsyncBaseTransport | None = None,
) -> Reach:
    """Reach a cloud of this process: over HTTP as in production, with nothing to be closed.

    `transport` may stand in between, such as one that checks what goes through it.
    """
    client = open_client(cloud.transport() if transport is None else transport)
    tokens = NoToken()
    run = GoogleRun(client, base_url="http://run.local", tokens=tokens, clock=clock)
    monitoring = GoogleMonitoring(
        client, base_url="http://monitoring.local", tokens=tokens, clock=clock
    )
    return Reach({"run": run}, {"run": run, "monitoring": monitoring})

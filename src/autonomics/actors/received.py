"""From a message at a door to the entry of its `received` receipt."""

from __future__ import annotations

import json
from typing import cast

from autonomics.actors.message import Inbound
from autonomics.errors import InvalidSignal
from autonomics.receipts.entry import Entry
from autonomics.recipes.normalise import normalise
from autonomics.recipes.record import received_payload

RECEIVED_TYPE = "autonomics.received/1"


def received_entry(inbound: Inbound, actor: str) -> Entry:
    """Normalise a message once, for ever: the receipt holds the signal that is decided.

    Raises InvalidSignal for what can't be read as a signal.
    """
    try:
        message = cast("object", json.loads(inbound.body))
    except (ValueError, RecursionError) as error:
        raise InvalidSignal(f"expected signal to be JSON: {error}") from None
    signal = normalise(message, source=inbound.source, message_id=inbound.message_id)
    return Entry(
        kind="received",
        actor=actor,
        payload=received_payload(signal, door=inbound.source, principal=inbound.principal),
        payload_type=RECEIVED_TYPE,
        idem=f"signal:{inbound.source}:{inbound.message_id}",
        trace=inbound.trace,
    )

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

import pytest

from autonomics.testing.stage import Event, Stage, open_stage, recording


@pytest.fixture
async def stage() -> AsyncGenerator[Stage]:
    async with open_stage() as opened:
        yield opened


@pytest.fixture
def events() -> Generator[list[Event]]:
    with recording() as seen:
        yield seen

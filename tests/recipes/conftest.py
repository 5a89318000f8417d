from __future__ import annotations

import pytest

from autonomics.testing.decision_stage import DecisionStage, open_decision_stage


@pytest.fixture(scope="session")
def stage() -> DecisionStage:
    return open_decision_stage()

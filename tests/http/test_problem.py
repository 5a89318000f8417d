from __future__ import annotations

import inspect
from typing import Any, cast

import pytest

from autonomics import errors
from autonomics.gates.refusal import CATALOGUE
from autonomics.http.problem import ERRORS, PROBLEMS, STATUSES, make_problem, problem_for

# Errors that never mean that the asker did something wrong: a door answers 500 and says nothing.
INTERNAL = {
    "AutonomicsError",
    "CommandFailed",
    "EffectFailed",
    "EffectUnknown",
    "TokenUnavailable",
    "StartFailed",
    "Unstoppable",
    # Of the runtime alone: no door calls a registry, a task or an event manager, or hosts a tree.
    "AlreadyRegistered",
    "HandlerRefused",
    "NoSuchHandler",
    "HandlerTaken",
    "HandlerFailed",
    "TaskFailed",
    "TaskTimedOut",
    "RuntimeUnusable",
}


# Made of a text and what it is about.
WITH_A_SECOND = (
    errors.ActorDied,
    errors.StartFailed,
    errors.ChildRefused,
    errors.AlreadyRegistered,
    errors.HandlerFailed,
    errors.TaskFailed,
)


def make(kind: type[errors.AutonomicsError]) -> errors.AutonomicsError:
    words = len(inspect.signature(kind.__init__).parameters) - 1
    if kind is errors.TenantUnavailable:
        return kind("away", 2.5)
    if kind is errors.DoorRefused:
        return kind("no", "body_not_json")
    if issubclass(kind, WITH_A_SECOND):
        build: Any = kind
        return cast("errors.AutonomicsError", build("text", "reason"))
    assert words
    return kind("text")


def every_error() -> list[type[errors.AutonomicsError]]:
    found = [errors.AutonomicsError]
    for kind in found:
        found.extend(kind.__subclasses__())
    return [kind for kind in found if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_of_the_tree_has_a_problem(kind: Any) -> None:
    problem = problem_for(make(kind))
    assert problem.code in PROBLEMS
    assert (problem.code == "internal") == (kind.__name__ in INTERNAL)


def test_no_row_hides_behind_one_of_its_parents() -> None:
    for place, (kind, _) in enumerate(ERRORS):
        for parent, _ in ERRORS[:place]:
            assert not issubclass(kind, parent), f"{kind.__name__} stands below {parent.__name__}"


def test_codes_that_the_catalogue_has_keep_its_status() -> None:
    for code in PROBLEMS.keys() & CATALOGUE.keys():
        assert PROBLEMS[code].status == CATALOGUE[code].status


def test_the_frameworks_statuses_have_codes_of_the_same_status() -> None:
    for status, code in STATUSES.items():
        assert PROBLEMS[code].status == status


def test_a_document_has_the_members_of_rfc_9457_and_ours() -> None:
    document = make_problem("body_not_json", "why").document("req-1")
    assert document == {
        "type": "urn:problem-type:autonomics:body_not_json",
        "title": "The body is not JSON",
        "status": 400,
        "detail": "why",
        "code": "body_not_json",
        "next": "send one JSON value and nothing after it",
        "request_id": "req-1",
    }


def test_a_tenant_that_is_away_says_when_to_come_again_in_whole_seconds() -> None:
    assert problem_for(errors.TenantUnavailable("away", 2.1)).headers == {"Retry-After": "3"}


def test_a_fault_of_ours_keeps_its_text_to_itself() -> None:
    problem = problem_for(errors.EffectFailed("password is hunter2"))
    assert "hunter2" not in str(problem.document("r"))

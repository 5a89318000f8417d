from __future__ import annotations

from contextlib import suppress
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from autonomics.errors import ChildRefused, StartFailed
from autonomics.runtime import Normal, Refuse, Shutdown, Stop
from autonomics.supervisors import (
    Restart,
    Strategy,
    restart_child,
    terminate_child,
    which_children,
)
from autonomics.testing.schedule import run_seeded
from autonomics.testing.stage import Stage, open_stage

IDS = ("a", "b", "c", "d")
acts = st.tuples(
    st.sampled_from(["crash", "crash", "finish", "kill", "terminate", "restart"]),
    st.sampled_from(IDS),
)
inits = st.lists(st.sampled_from([None, None, None, Refuse("no")]), max_size=4)


async def act_on(stage: Stage, act: str, id_: str) -> None:
    root, found = stage.at("s"), stage.find(f"s/{id_}")
    match act:
        case "crash" if found:
            found.cast(RuntimeError("died"))
        case "finish" if found:
            found.cast(Stop(Normal()))
        case "kill" if found:
            found.kill()
        case "terminate" | "restart":
            # The child may be in the wrong state for it, and its init may refuse.
            with suppress(ChildRefused, StartFailed):
                await (terminate_child if act == "terminate" else restart_child)(root, id_)
        case _:
            pass
    await wait_all_tasks_blocked()


async def check(stage: Stage) -> None:
    paths = [ref.path for ref in stage.runtime.living()]
    assert len(paths) == len(set(paths)), "two incarnations of one child"
    children = await which_children(stage.at("s"))
    assert [child.id for child in children] == sorted(child.id for child in children)
    for child in children:
        assert child.state in {"running", "stopped", "waiting"}
        assert (child.ref is not None and child.ref.is_alive()) == (child.state == "running")
        assert stage.find(f"s/{child.id}") is child.ref


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(get_args(Strategy)),
    st.fixed_dictionaries({id_: st.sampled_from(get_args(Restart)) for id_ in IDS}),
    st.fixed_dictionaries(dict.fromkeys(IDS, inits)),
    st.lists(acts, max_size=12),
    st.integers(0, 20),
    st.integers(0, 2**32 - 1),
)
def test_whatever_happens_no_child_runs_twice_and_none_is_left(
    strategy: Strategy,
    restarts: dict[str, Restart],
    later_inits: dict[str, list[Refuse | None]],
    plan: list[tuple[str, str]],
    max_restarts: int,
    seed: int,
) -> None:
    async def main() -> None:
        async with open_stage() as stage:
            root = await stage.supervise(
                *(
                    stage.child(id_, inits=[None, *later_inits[id_], None], restart=restarts[id_])
                    for id_ in IDS
                ),
                strategy=strategy,
                max_restarts=max_restarts,
            )
            for act, id_ in plan:
                await act_on(stage, act, id_)
                if not root.is_alive():
                    break
                await check(stage)
            assert isinstance(await root.stop(), Shutdown)
            assert [ref.path for ref in stage.runtime.living()] == []
            ups = [line for line in stage.log if line.startswith("up:")]
            ends = [line for line in stage.log if line.startswith("term:")]
            kills = sum(act == "kill" for act, _ in plan)
            assert len(ups) - kills <= len(ends) <= len(ups)

    run_seeded(main, seed)

"""A supervisor as the manual describes it: no tasks, no messages, one list of children."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Literal

import attrs

from autonomics.supervisors import AutoShutdown, Restart, Strategy

End = Literal["died", "normal", "shutdown", "killed"]
Start = Literal["ok", "refuse", "ignore"]
GRACE_S = CONFIRM_S = 1.0


@attrs.frozen
class Flags:
    """What a supervisor is told about itself."""

    strategy: Strategy
    max_restarts: int
    within_s: float
    max_failed_starts: int
    auto_shutdown: AutoShutdown


@attrs.frozen
class KidSpec:
    """What it is told about a child."""

    id: str
    restart: Restart
    significant: bool = False
    held: bool = False


@attrs.define(eq=False)
class Kid:
    """What it knows about a child. `is_gone`: it has died, and the supervisor has yet to hear."""

    spec: KidSpec
    state: Literal["running", "stopped", "waiting", "restarting", "zombie"] = "stopped"
    lives: int = 0
    restarts: int = 0
    failed_starts: int = 0
    last_exit: End | None = None
    is_gone: bool = False
    is_deaf: bool = False
    is_due: bool = False


@attrs.define
class SupervisorModel:
    """Predicts which children run, in which order, what was spent, and whether it still lives.

    `plans` says how the next starts of a child go, and is used up by them. `log` has what each
    child writes down. Time passes only where a deaf child is stopped: its grace and the confirm.
    """

    flags: Flags
    kids: list[Kid] = attrs.field(factory=list[Kid])
    plans: dict[str, list[Start]] = attrs.field(factory=dict[str, list[Start]])
    log: list[str] = attrs.field(factory=list[str])
    now: float = 0.0
    spent: list[float] = attrs.field(factory=list[float])
    ended: str | None = None
    """Why it has ended: the info of its Shutdown."""
    inbox: deque[Callable[[], None]] = attrs.field(factory=deque[Callable[[], None]])
    answers: list[str] = attrs.field(factory=list[str])
    """To what was asked in the present step."""
    asked: int = 0

    def begin(self) -> None:
        """Forget what is to be seen of the step before."""
        self.log.clear()
        self.answers.clear()
        self.asked = 0

    def find(self, id_: str) -> Kid | None:
        return next((kid for kid in self.kids if kid.spec.id == id_), None)

    def left(self) -> int:
        used = sum(self.now - at <= self.flags.within_s for at in self.spent)
        return max(0, self.flags.max_restarts - used)

    # What an operator asks for; each returns how it is answered

    def start_child(self, spec: KidSpec) -> str:
        known = self.find(spec.id)
        if known is not None:
            has_life = known.state in {"running", "zombie"}
            return "already_started" if has_life else "already_present"
        kid = Kid(spec)
        self.kids.append(kid)
        answer = self._start(kid)
        if answer == "refuse" or (answer == "ignore" and spec.restart == "temporary"):
            self.kids.remove(kid)
        return answer

    def terminate_child(self, id_: str) -> str:
        kid = self.find(id_)
        if kid is None:
            return "not_found"
        kid.is_due = False
        if not self._stop(kid):
            return "unstoppable"
        self._settle(kid)
        return "ok"

    def restart_child(self, id_: str) -> str:
        kid = self.find(id_)
        if kid is None:
            return "not_found"
        return self._start(kid) if kid.state in {"stopped", "waiting"} else kid.state

    def delete_child(self, id_: str) -> str:
        kid = self.find(id_)
        if kid is None:
            return "not_found"
        if kid.state not in {"stopped", "waiting"}:
            return kid.state
        self.kids.remove(kid)
        return "ok"

    def stop(self) -> str:
        self._end("asked")
        return "unstoppable" if any(kid.state == "zombie" for kid in self.kids) else "ok"

    # What happens by itself

    def end(self, kid: Kid, how: End) -> None:
        """Let a child end; the supervisor hears of it when it serves."""
        if how != "killed":
            self.log.append(f"end:{kid.spec.id}:{how}")
        kid.is_gone = True
        kid.last_exit = how
        self.inbox.append(partial(self._take_exit, kid))

    def ask(self, question: Callable[[], str]) -> None:
        """Have one of the above asked, to be answered when the supervisor serves."""
        self.inbox.append(lambda: self.answers.append(question()))
        self.asked += 1

    def serve(self) -> None:
        """Do all that is in the inbox, and what comes in meanwhile; all questions get an answer."""
        while self.inbox and self.ended is None:
            self.inbox.popleft()()
        self.inbox.clear()
        self.answers += ["died"] * (self.asked - len(self.answers))

    def free(self, kid: Kid) -> None:
        """Let a zombie end."""
        kid.state, kid.last_exit = "stopped", "killed"
        if self.ended is not None:
            return
        if kid.is_due:
            self._restart_group(kid)
        else:
            self._settle(kid)

    # Rules

    def _retry(self, kid: Kid) -> None:
        if kid.state == "restarting":
            self._pay_and_restart(kid)

    def _take_exit(self, kid: Kid) -> None:
        if not kid.is_gone:
            return
        kid.is_gone = False
        kid.state = "stopped"
        is_bad = kid.last_exit in {"died", "killed"}
        if kid.spec.restart == "permanent" or (kid.spec.restart == "transient" and is_bad):
            self._pay_and_restart(kid)
            return
        self._settle(kid)
        if not kid.spec.significant or self.flags.auto_shutdown == "never":
            return
        others = [other for other in self.kids if other.spec.significant]
        if self.flags.auto_shutdown == "any_significant" or all(
            other.state in {"stopped", "waiting"} for other in others
        ):
            self._end("auto_shutdown")

    def _pay_and_restart(self, kid: Kid) -> None:
        if kid.failed_starts > self.flags.max_failed_starts:
            self._end("failed_starts")
            return
        is_too_much = self.left() == 0
        self.spent.append(self.now)
        if is_too_much:
            self._end("restart_intensity")
            return
        self._restart_group(kid)

    def _group(self, kid: Kid) -> list[Kid]:
        match self.flags.strategy:
            case "one_for_one":
                group = [kid]
            case "one_for_all":
                group = self.kids
            case "rest_for_one":
                group = self.kids[self.kids.index(kid) :]
        return [
            member
            for member in group
            if member is kid or not (member.spec.held and member.state == "stopped")
        ]

    def _restart_group(self, kid: Kid) -> None:
        group = self._group(kid)
        for member in reversed(group):
            if self._stop(member):
                member.state = "waiting"
                if member.spec.restart == "temporary":
                    self.kids.remove(member)
        for member in group:
            if member not in self.kids or (
                member.state == "zombie" and member.spec.restart == "temporary"
            ):
                continue
            if member.state == "zombie":
                member.is_due = True
                return
            match self._start(member):
                case "ok":
                    member.restarts += 1
                case "refuse":
                    member.failed_starts += 1
                    member.state = "restarting"
                    self.inbox.append(partial(self._retry, member))
                    return
                case _:
                    pass

    def _start(self, kid: Kid) -> Start:
        plan = self.plans.get(kid.spec.id)
        step: Start = plan.pop(0) if plan else "ok"
        self.log.append(f"init:{kid.spec.id}")
        kid.lives += 1
        kid.is_due = False
        kid.is_deaf = False
        kid.state = "stopped"
        if step == "ok":
            self.log.append(f"up:{kid.spec.id}")
            kid.state = "running"
            kid.failed_starts = 0
        return step

    def _stop(self, kid: Kid) -> bool:
        if kid.state == "zombie":
            return False
        if kid.state == "running" and not kid.is_gone:
            self.log.append(f"end:{kid.spec.id}:shutdown")
            kid.last_exit = "shutdown"
            if kid.is_deaf:
                self.now += GRACE_S + CONFIRM_S
                kid.state, kid.last_exit = "zombie", None
                return False
        kid.is_gone = False
        kid.state = "stopped"
        return True

    def _settle(self, kid: Kid) -> None:
        if kid.spec.restart == "temporary":
            self.kids.remove(kid)

    def _end(self, why: str) -> None:
        self.ended = why
        for kid in reversed(self.kids):
            self._stop(kid)


@attrs.define
class PoolModel(SupervisorModel):
    """The same for a dynamic supervisor: it knows a child by its present life, or not at all."""

    max_children: int = 0

    def start_child(self, spec: KidSpec) -> str:
        if len(self.kids) >= self.max_children:
            return "max_children"
        kid = Kid(spec)
        self.kids.append(kid)
        answer = self._start(kid)
        if answer != "ok":
            self.kids.remove(kid)
        return answer

    def terminate_life(self, kid: Kid | None, life: int) -> str:
        is_known = kid in self.kids and kid.lives == life and kid.state in {"running", "zombie"}
        if kid is None or not is_known:
            return "not_found"
        if not self._stop(kid):
            return "unstoppable"
        self._settle(kid)
        return "ok"

    def _restart_group(self, kid: Kid) -> None:
        match self._start(kid):
            case "ok":
                kid.restarts += 1
            case "refuse":
                kid.failed_starts += 1
                kid.state = "restarting"
                self.inbox.append(partial(self._retry, kid))
            case _:
                self.kids.remove(kid)

    def _settle(self, kid: Kid) -> None:
        self.kids.remove(kid)

    def _end(self, why: str) -> None:
        began = last = self.now
        self.ended = why
        for kid in self.kids:
            self.now = began  # all at once
            self._stop(kid)
            last = max(last, self.now)
        self.now = last

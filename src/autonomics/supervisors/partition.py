"""The partition supervisor: children alike, each serving its share of the keys."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import attrs

from autonomics.errors import InvalidInput, InvalidSpec, NoSuchActor, Unstoppable
from autonomics.runtime import ActorRef, Address, Behaviour, Call, Key, ReplyTo, Shutdown
from autonomics.runtime.entry import check_key, show_key
from autonomics.runtime.indirect import IndirectRef
from autonomics.supervisors.parent import refuse
from autonomics.supervisors.request import ChildRequest, DeleteChild, StartChild
from autonomics.supervisors.spec import B_co, ChildSpec
from autonomics.supervisors.supervisor import Supervisor

B = TypeVar("B", bound=Behaviour)


class PartitionSupervisor(Supervisor, Generic[B_co]):
    """Starts `partitions` children, each restarted alone; `partition_address` leads to them.

    `child` makes the spec of one partition from its number; its id gives way to the number, so that
    the children are "0", "1" and so on. As many as there are processors is the usual number
    elsewhere; here all share one event loop, so it is for the state and the mailboxes, not the CPU.
    """

    def __init__(
        self,
        child: Callable[[int], ChildSpec[B_co]],
        *,
        partitions: int,
        max_restarts: int = 3,
        within_s: float = 5.0,
        max_failed_starts: int | None = None,
        finish_within_s: float = 60.0,
    ) -> None:
        if type(partitions) is not int or partitions < 1:
            raise InvalidSpec.expected("partitions", "an integer of at least 1", partitions)
        specs = [attrs.evolve(child(number), id=str(number)) for number in range(partitions)]
        if any(spec.restart == "temporary" for spec in specs):
            raise InvalidSpec("a partition may not be temporary: nobody would serve its keys")
        super().__init__(
            specs,
            max_restarts=max_restarts,
            within_s=within_s,
            max_failed_starts=max_failed_starts,
            finish_within_s=finish_within_s,
        )
        self.partitions: int = partitions

    def find_partition(self, key: Key | int) -> ActorRef[B_co] | None:
        """Find who serves a key now; None while it is down."""
        child = self.children[str(partition_index(key, self.partitions))]
        return None if child.incarnation is None else child.incarnation.ref

    if TYPE_CHECKING:  # the one of its parent, which takes Resize too

        async def handle_call(self, message: ChildRequest | Resize, reply_to: ReplyTo) -> object:
            """Serve the child API and resize_partitions."""
            ...

    async def obey(self, message: ChildRequest | Resize) -> object:
        """Serve what changes the table; no child comes or goes for good."""
        match message:
            case Resize(partitions):
                await self._resize(partitions)
                return None
            case StartChild(spec):
                raise refuse("partitioned", self.path, spec.id)
            case DeleteChild(id_):
                raise refuse("partitioned", self.path, id_)
            case _:
                return await super().obey(message)

    async def _resize(self, partitions: int) -> None:
        most = len(self.children)
        if type(partitions) is not int or not 1 <= partitions <= most:
            raise InvalidInput.expected("partitions", f"an integer from 1 to {most}", partitions)
        while self.partitions < partitions:
            # One by one: a key is led to a partition only when that is up.
            await self.start(self.children[str(self.partitions)])
            self.partitions += 1
        self.partitions = partitions
        surplus = [self.children[str(number)] for number in reversed(range(partitions, most))]
        for child in surplus:
            child.is_due = False
        stopped = [await self.stop(child, Shutdown()) for child in surplus]
        if not all(stopped):
            raise Unstoppable(f"{self.path}: a partition did not end when cancelled")


@attrs.frozen
class Resize(Call[None]):
    """See resize_partitions."""

    partitions: int


@attrs.frozen
class PartitionRef(IndirectRef[B_co]):
    """Address of whoever serves a key when it is used: survives restarts and changes of size."""

    supervisor: Address[PartitionSupervisor[B_co]] = attrs.field(repr=False)
    key: Key | int = attrs.field(repr=False)

    def find(self) -> ActorRef[B_co] | None:
        """Read the supervisor's own table: asking it would be a call for each message."""
        supervisor = self.supervisor
        if not supervisor.is_alive():
            return None
        ref = supervisor if isinstance(supervisor, ActorRef) else supervisor.resolve()
        behaviour = ref.incarnation.behaviour
        if not isinstance(behaviour, PartitionSupervisor):
            raise InvalidInput.expected("supervisor", "a PartitionSupervisor", ref)
        return behaviour.find_partition(self.key)  # pyright: ignore[reportUnknownVariableType]

    def resolve(self) -> ActorRef[B_co]:
        """Find who serves the key; NoSuchActor while nobody does."""
        found = self.find()
        if found is None:
            raise NoSuchActor(f"nobody serves the partition of {self.name}")
        return found


def partition_address(
    supervisor: Address[PartitionSupervisor[B]], key: Key | int
) -> PartitionRef[B]:
    """Address the partition that serves a key, for `call`, `cast` and `monitor`.

    Give it a name as supervisor if the address is to survive a restart of that too.
    """
    partition_index(key, 1)  # refuses what is no key
    shown = str(key) if isinstance(key, int) else show_key(key)
    if isinstance(supervisor, ActorRef):
        runtime, who = supervisor.incarnation.runtime, supervisor.path
    else:
        runtime, who = supervisor.runtime, supervisor.name
    return PartitionRef(runtime, f"{who}[{shown}]", supervisor, key)


def partition_index(key: Key | int, partitions: int) -> int:
    """Map a key to a number below `partitions`: the same in every process and on every day.

    Numbers by their remainder, as Elixir does; strings by CRC-32 of their UTF-8, since Python salts
    its own hash of them.
    """
    if isinstance(key, int) and not isinstance(key, bool):
        return abs(key) % partitions
    check_key(key)
    text = key if isinstance(key, str) else "\0".join(cast("tuple[str, ...]", key))
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) % partitions


async def resize_partitions(
    supervisor: Address[PartitionSupervisor], partitions: int, timeout_s: float = math.inf
) -> None:
    """Serve the keys by fewer partitions, or again by more, up to the number at the start.

    Keys move to other partitions, and with them goes no state. Raises InvalidInput, StartFailed
    (those before it have started and serve), Unstoppable.
    """
    await supervisor.call(Resize(partitions), timeout_s)

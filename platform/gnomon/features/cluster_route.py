"""Which node of a Redis Cluster a command goes to: the slot of its key, the map of slots, and its corrections.

Used by `features.redis_servers` and `features.async_redis_servers`. Keys of the online store have no hash tag: all
features of an entity are fields of one hash, so that a whole entity is one key in one slot.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from gnomon.errors import Unavailable
from gnomon.features.redis_addresses import Endpoint, OnlineAddress
from gnomon.features.redis_failures import refused
from gnomon.features.redis_protocol import ReplyError, command
from gnomon.features.redis_routes import Batch, Steps

SLOTS: Final = 16384
_ROUNDS: Final = 4
"""A command may be answered by MOVED, then by ASK while its slot is on the move, then by its node."""
_SLOTS_COMMAND: Final = command(b"CLUSTER", b"SLOTS")
_ASKING: Final = command(b"ASKING")


def slot_of(key: bytes) -> int:
    """Return the slot of a key: CRC16 (XMODEM) of what is between its first braces, or else of all of it.

    Args:
        key: Any bytes.

    Returns:
        0 to 16383.

    Example:
        >>> slot_of(b"123456789"), slot_of(b"a{123456789}b")
        (12739, 12739)
    """
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS


class ClusterRoute:
    """The nodes of a cluster by slot; the map is asked for at first use, and again when a node says it is out of date.

    Args:
        address: Of the kind `cluster`; any node of it does, as long as one of them answers.
    """

    def __init__(self, address: OnlineAddress) -> None:
        self._address = address
        self._owners: list[Endpoint | None] | None = None
        self._failed: set[Endpoint] = set()

    def exchange(self, commands: Sequence[bytes], keys: Sequence[bytes]) -> Steps[list[Any]]:
        """Send every command to the node of its key, all nodes at once; see `Route.exchange`.

        Commands that a node sends elsewhere (MOVED, ASK) or puts off (TRYAGAIN, CLUSTERDOWN), or whose node does not
        answer, are repeated as long as that leads to another node. Without keys all go to one node.
        """
        if self._owners is None or self._failed:
            yield from self._refresh()
        slots = [slot_of(key) for key in keys] or [0] * len(commands)
        answer: list[Any] = [None] * len(commands)
        todo: dict[tuple[Endpoint, bool], list[int]] = {}
        for i, slot in enumerate(slots):
            todo.setdefault((self._owner(slot), False), []).append(i)
        for last in [False] * (_ROUNDS - 1) + [True]:
            batches = [_batch(place, [commands[i] for i in members]) for place, members in todo.items()]
            results = yield batches
            again = _Repeats(last)
            for ((endpoint, asking), members), result in zip(todo.items(), results, strict=True):
                if isinstance(result, Unavailable):
                    self._failed.add(endpoint)
                    again.fails(endpoint, members, result)
                    continue
                for i, reply in zip(members, result[1::2] if asking else result, strict=True):
                    if not again.is_elsewhere(endpoint, i, reply):
                        answer[i] = reply
            if not again.indices:
                break
            todo = yield from self._repeated(again, slots)
        return answer

    def primaries(self) -> Steps[list[Endpoint]]:
        """Return the nodes that have slots, by a fresh map."""
        yield from self._refresh()
        return list(dict.fromkeys(owner for owner in self._owners or () if owner is not None))

    def groups(self, keys: Sequence[bytes], most: int) -> list[Sequence[int]]:
        """Return indices of keys that share a slot; see `Route.groups`."""
        by_slot: dict[int, list[int]] = {}
        for i, key in enumerate(keys):
            by_slot.setdefault(slot_of(key), []).append(i)
        return [members[i : i + most] for members in by_slot.values() for i in range(0, len(members), most)]

    def _owner(self, slot: int) -> Endpoint:
        owner = self._owners[slot] if self._owners is not None else None
        if owner is None:
            raise Unavailable(
                f"the online store at {self._address.name} has no node for slot {slot}",
                "look at CLUSTER INFO: give every slot a node",
                {"address": self._address.name, "slot": slot},
            )
        return owner

    def _repeated(self, again: _Repeats, slots: Sequence[int]) -> Steps[dict[tuple[Endpoint, bool], list[int]]]:
        """Return where to send commands again; a node that failed and still owns its slots is not asked twice."""
        if again.outdated:
            try:
                yield from self._refresh()
            except Unavailable as error:
                raise next((failure for _, failure in again.failures.values()), error) from error
        todo: dict[tuple[Endpoint, bool], list[int]] = {}
        for i in again.indices:
            if i in again.targets:
                host, port, asking = again.targets[i]
                target = replace(self._address.endpoints[0], host=host, port=port)
                if not asking and self._owners is not None:
                    self._owners[slots[i]] = target  # the node that answered the refresh may not know yet
                todo.setdefault((target, asking), []).append(i)
                continue
            owner = self._owner(slots[i])
            if (failure := again.failures.get(i)) is not None and failure[0] == owner:
                raise failure[1]
            todo.setdefault((owner, False), []).append(i)
        return todo

    def _refresh(self) -> Steps[None]:
        known = [owner for owner in dict.fromkeys(self._owners or ()) if owner is not None]
        failures = []
        nodes = dict.fromkeys([*known, *self._address.endpoints])
        for endpoint in sorted(nodes, key=self._failed.__contains__):
            (result,) = yield [Batch(endpoint, [_SLOTS_COMMAND])]
            if isinstance(result, Unavailable):
                failures.append(result)
            elif isinstance(result[0], ReplyError):
                failures.append(refused(endpoint.name, result[0]))
            else:
                self._owners = _owners(result[0], endpoint)
                self._failed.clear()
                return
        raise failures[-1]


class _Repeats:
    """What of one round has to be sent again."""

    def __init__(self, last: bool) -> None:
        self.indices: list[int] = []
        self.targets: dict[int, tuple[str, int, bool]] = {}
        self.failures: dict[int, tuple[Endpoint, Unavailable]] = {}
        self.outdated = False
        self._last = last

    def fails(self, endpoint: Endpoint, members: Sequence[int], failure: Unavailable) -> None:
        """Note that a node did not answer; raises in the last round."""
        if self._last:
            raise failure
        self.outdated = True
        self.indices += members
        self.failures.update((i, (endpoint, failure)) for i in members)

    def is_elsewhere(self, endpoint: Endpoint, index: int, reply: Any) -> bool:
        """Return whether a reply only says where or when to ask again; in the last round none does."""
        if self._last or not isinstance(reply, ReplyError):
            return False
        code, _, rest = str(reply).partition(" ")
        if code in ("MOVED", "ASK"):
            host, _, port = rest.partition(" ")[2].rpartition(":")
            # a node that does not know its own name leaves it out
            self.targets[index] = (host.strip("[]") or endpoint.host, int(port), code == "ASK")
        elif code not in ("TRYAGAIN", "CLUSTERDOWN"):
            return False
        self.outdated |= code in ("MOVED", "CLUSTERDOWN")
        self.indices.append(index)
        return True


def _batch(place: tuple[Endpoint, bool], commands: list[bytes]) -> Batch:
    endpoint, asking = place
    return Batch(endpoint, [part for one in commands for part in (_ASKING, one)] if asking else commands)


def _owners(ranges: Sequence[Any], answered: Endpoint) -> list[Endpoint | None]:
    """Return the primary of every slot from the reply to CLUSTER SLOTS."""
    owners: list[Endpoint | None] = [None] * SLOTS
    for first, last, primary, *_ in ranges:
        host = (primary[0] or b"").decode()
        endpoint = replace(answered, host=answered.host if host in ("", "?") else host, port=int(primary[1]))
        owners[first : last + 1] = [endpoint] * (last + 1 - first)
    return owners

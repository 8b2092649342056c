"""What the forward loop keeps for the backward one: a minimum cut between what is lost and what is needed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from rondeau.recurrence.ir import Node

_ENDLESS = 1 << 60


def to_keep(
    needed: Iterable[Node], free: Callable[[Node], bool], lost: Callable[[Node], bool], kept: set[Node]
) -> list[Node]:
    """The nodes to store at each step, the fewest numbers in all; of equal choices the one nearest to the use.

    Args:
        needed: what the backward loop reads of the forward values.
        free: readable again without storing: parameters, inputs.
        lost: not to be computed again from its arguments: states, products, reductions.
        kept: stored in any case, at no cost.
    """
    needed = list(needed)
    everything = ancestors_until(needed, free)
    network = _Network()
    for node in everything:
        if free(node):
            continue
        network.add((node, 0), (node, 1), 0 if node in kept else node.size)
        if lost(node):
            network.add("source", (node, 0), _ENDLESS)
        else:
            for argument in node.args:
                if not free(argument):
                    network.add((argument, 1), (node, 0), _ENDLESS)
    for node in needed:
        if not free(node):
            network.add((node, 1), "sink", _ENDLESS)
    network.push()
    behind = network.reaching("sink")
    return sorted(
        (n for n in everything if not free(n) and (n, 1) in behind and (n, 0) not in behind), key=lambda n: n.index
    )


def ancestors_until(roots: Iterable[Node], stop: Callable[[Node], bool]) -> set[Node]:
    """As `ancestors`, not going beyond nodes where `stop` holds (they are included)."""
    seen: set[Node] = set()
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            if not stop(node):
                waiting.extend(node.args)
    return seen


class _Network:
    """Edges with capacities; `push` sends as much as fits from source to sink (Edmonds & Karp 1972)."""

    def __init__(self) -> None:
        self.edges: dict[object, dict[object, int]] = {"source": {}, "sink": {}}

    def add(self, a: object, b: object, capacity: int) -> None:
        self.edges.setdefault(a, {})
        self.edges.setdefault(b, {}).setdefault(a, 0)
        self.edges[a][b] = self.edges[a].get(b, 0) + capacity

    def push(self) -> None:
        while True:
            came: dict[object, object] = {"source": None}
            waiting: deque[object] = deque(["source"])
            while waiting and "sink" not in came:
                a = waiting.popleft()
                for b, room in self.edges[a].items():
                    if room > 0 and b not in came:
                        came[b] = a
                        waiting.append(b)
            if "sink" not in came:
                return
            path: list[object] = ["sink"]
            while came[path[-1]] is not None:
                path.append(came[path[-1]])
            steps = list(zip(path[1:], path[:-1], strict=True))
            amount = min(self.edges[a][b] for a, b in steps)
            for a, b in steps:
                self.edges[a][b] -= amount
                self.edges[b][a] += amount

    def reaching(self, end: object) -> set[object]:
        """From where there still is room all the way to `end`."""
        found, waiting = {end}, [end]
        while waiting:
            b = waiting.pop()
            for a in self.edges[b]:
                if a not in found and self.edges[a].get(b, 0) > 0:
                    found.add(a)
                    waiting.append(a)
        return found

"""One loop's work, put in order: phases between products, and what each phase stores."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from rondeau.recurrence.ir import COSTLY, POINTWISE, Node
from rondeau.recurrence.plan.cut import ancestors_until


class Place(NamedTuple):
    """Where a value lies outside the registers.

    kind: token (one entry per real step), row (one per row), param (one in all), weight (packed, for products),
    state (carried from step to step), scratch (of one step), total (summed over all rows and steps), row_total (summed
    over each row's steps). `name` tells those of a kind apart. Several places may share a buffer, which has their name:
    each then begins at `start` of every entry of `within` elements.
    """

    kind: str
    name: str
    start: int = 0
    within: int = 0

    @property
    def buffer(self) -> Place:
        """The place that is the whole buffer."""
        return Place(self.kind, self.name)

    @property
    def given(self) -> bool:
        """Whether torch made what lies there, so that truth values and whole numbers have torch's own types."""
        return self.kind in ("token", "row", "param") and self.name.startswith("n")


@dataclass(frozen=True)
class Result:
    """A node, and where its value is wanted."""

    node: Node
    place: Place


@dataclass
class Phase:
    """`roots`: nodes computed and stored row by row; then `products`, all rows at once."""

    roots: list[Node] = field(default_factory=list)
    products: list[Node] = field(default_factory=list)


class Program:
    """The loop body that computes `results`, reading `leaves`.

    Attributes:
        phases: in order; `phase` and `depth` (after how many reductions within its phase) of each node.
        places: node -> where it is stored, for results and for what has to lie in memory between phases.
    """

    def __init__(self, results: Iterable[Result], leaves: dict[Node, Place]) -> None:
        self.results, self.leaves = list(results), dict(leaves)
        self.nodes = sorted(ancestors_until((r.node for r in self.results), self.is_leaf), key=lambda n: n.index)
        self.inner = [n for n in self.nodes if not self.is_leaf(n)]
        self.stored: dict[Node, Place] = {}
        self.breaks: set[Node] = set()
        self.phase: dict[Node, int] = {}
        self.depth: dict[Node, int] = {}
        self._store_what_must()
        while True:
            self._levels()
            more = self._shared()
            if not more:
                break
            for node in more:
                self._store(node)
        self.phases = self._phases()

    def is_leaf(self, node: Node) -> bool:
        return node in self.leaves or node.op == "const" or not node.rows

    def _store(self, node: Node) -> None:
        self.stored.setdefault(node, Place("scratch", f"v{node.index}"))

    def _store_what_must(self) -> None:
        """Operands and results of products, and what is read at other places than it is computed at."""
        for node in self.inner:
            if node.op == "product":
                self._store(node)
                operand = node.args[0]
                if self.leaves.get(operand, Place("", "")).kind != "state":
                    self._store(operand)
            elif node.op == "copy" or (node.op == "reduce" and node.shape):
                self._store(node)
                self.breaks.add(node)
            elif node.op == "reshape" and node.args[0] in self.inner:
                self._store(node.args[0])
                self.breaks.add(node.args[0])
            if node.op == "reduce":
                self.breaks.add(node)
            for argument in node.args:
                if argument.op == "cat" and argument in self.inner and node.op != "product":
                    self._store(argument)
                    self.breaks.add(argument)

    def _levels(self) -> None:
        for node in self.nodes:
            if self.is_leaf(node):
                self.phase[node], self.depth[node] = 0, 0
                continue
            args = [a for a in node.args if a.rows]
            if node.op == "product":
                self.phase[node], self.depth[node] = self.phase[node.args[0]] + 1, 0
                continue
            phase = self.phase[node] = max((self.phase[a] for a in args), default=0)
            self.depth[node] = max(
                (self.depth[a] + (a in self.breaks) for a in args if self.phase[a] == phase and a.op != "product"),
                default=0,
            )

    def _shared(self) -> list[Node]:
        """Values dear to compute that several loops read: store them once."""
        groups: dict[Node, set[tuple[int, int]]] = {}
        roots = {r.node for r in self.results} | set(self.stored) | {n for n in self.inner if n.op == "reduce"}
        for root in sorted(roots, key=lambda n: n.index):
            if self.is_leaf(root):
                continue
            group = (self.phase[root], self.depth[root])
            waiting = list(root.args) if root.op != "product" else []
            seen = set()
            while waiting:
                node = waiting.pop()
                if node in seen or self.is_leaf(node):
                    continue
                seen.add(node)
                groups.setdefault(node, {(self.phase[node], self.depth[node])} if node in roots else set()).add(group)
                if node not in self.stored and node.op != "reduce":
                    waiting.extend(node.args)
        cost = self._costs()
        dear = [
            n for n, g in groups.items() if len(g) > 1 and n.op in POINTWISE and n not in self.stored and cost[n] >= 8
        ]
        late = [
            n
            for n, g in groups.items()
            if n.op == "reduce" and n not in self.stored and any(p > self.phase[n] for p, _ in g)
        ]
        if late:
            return late
        # the outermost only: what they are made of is then read by them alone
        below = {a for n in dear for a in n.args}
        return [n for n in dear if n not in below] or dear

    def _costs(self) -> dict[Node, int]:
        cost: dict[Node, int] = {}
        for node in self.nodes:
            if self.is_leaf(node) or node in self.stored or node.op == "reduce":
                cost[node] = 0
            else:
                own = 0 if node.op not in POINTWISE else 10 if node.op in COSTLY else 1
                cost[node] = own + sum(cost[a] for a in node.args if a.rows)
        return cost

    def _phases(self) -> list[Phase]:
        roots = {n: None for n in self.stored if not self._is_product(n)}
        roots.update(dict.fromkeys(n for n in self.inner if n.op == "reduce"))
        roots.update(dict.fromkeys(r.node for r in self.results))
        last = max((self.phase.get(n, 0) for n in (*roots, *self.inner)), default=0)
        phases = [Phase() for _ in range(last + 1)]
        for node in roots:
            # results that are leaves (a state handed on unchanged) are copied in the last phase
            place = (
                last if node not in self.phase or (self.is_leaf(node) and node not in self.stored) else self.phase[node]
            )
            if self._is_product(node) and node in self.stored and not any(r.node is node for r in self.results):
                continue
            phases[place].roots.append(node)
        for node in self.inner:
            if node.op == "product":
                phases[self.phase[node.args[0]]].products.append(node)
        for phase in phases:
            phase.roots.sort(key=lambda n: (self.depth.get(n, 0), n.index))
        return phases

    def targets(self, node: Node) -> list[Place]:
        """Everywhere `node` is stored."""
        own = [r.place for r in self.results if r.node is node]
        return own + ([self.stored[node]] if node in self.stored and not self._is_product(node) else [])

    def _is_product(self, node: Node) -> bool:
        """Whether the loop makes it by a product; one that was made before is a value like others."""
        return node.op == "product" and node not in self.leaves

    def map_places(self, function: Callable[[Place], None]) -> None:
        for place in (*self.leaves.values(), *self.stored.values(), *(r.place for r in self.results)):
            function(place)

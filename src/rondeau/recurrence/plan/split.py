"""Which nodes torch computes for all steps at once, before or after the loop, and which the loops compute."""

from __future__ import annotations

from dataclasses import dataclass, field

from rondeau.recurrence.ir import Node, ancestors
from rondeau.recurrence.plan.cut import ancestors_until, to_keep
from rondeau.recurrence.trace.step import Step

TINY = 8  # features up to here: x @ W is done inside the loop, since its result would be larger traffic than its work


@dataclass
class Split:
    """The parts of a step.

    `before`: computed for all steps, `rows_before`: once per row, both by torch; the loop reads them.
    `kept`: what the forward loop stores at each step for the backward one; `operands`: those that `after` reads.
    `inside`: what the backward loop gives for
    each step to `after`, the gradients that torch computes of it; `totals`, `row_totals`: what it sums over all steps,
    or over each row's. `state_gradients`: of the states before the step, in their order; None: no gradient.
    `cotangents`: in all, of the states after the step, where they are to be kept.
    """

    step: Step
    before: list[Node]
    rows_before: list[Node]
    kept: list[Node] = field(default_factory=list)
    operands: list[Node] = field(default_factory=list)
    inside: list[Node] = field(default_factory=list)
    totals: list[Node] = field(default_factory=list)
    row_totals: dict[str, Node] = field(default_factory=dict)
    direct: dict[str, Node] = field(default_factory=dict)
    after: dict[str, Node] = field(default_factory=dict)
    state_gradients: list[Node | None] = field(default_factory=list)
    cotangents: list[Node | None] = field(default_factory=list)


def split(step: Step) -> Split:
    """Divide the nodes of a step."""
    kinds = _Kinds(step.graph.nodes)
    asked = [] if step.asked is None else [n for n, _ in step.asked.named.values()]
    loop = ancestors_until([step.output, *step.states, *asked], lambda n: kinds.hoisted(n))
    found = Split(step, [], [])
    for node in sorted(loop, key=lambda n: n.index):
        _place(found, node, kinds)
    if step.gradients:
        _backward(found, kinds)
    return found


def _place(found: Split, node: Node, kinds: _Kinds) -> None:
    if node.op == "input" or not node.rows:
        return
    if kinds.per_row(node):
        place = found.rows_before
    elif kinds.hoisted(node):
        place = found.before
    else:
        return
    if node not in place:
        place.append(node)


class _Kinds:
    """What nodes depend on."""

    def __init__(self, nodes: list[Node]) -> None:
        self.of: dict[Node, frozenset[str]] = {}
        for node in nodes:  # arguments come before
            own = {node.attrs[0]} if node.op == "input" else set()
            self.of[node] = frozenset(own.union(*(self.of[a] for a in node.args)))

    def bound(self, node: Node) -> bool:
        """Whether it depends on the loop."""
        return bool(self.of[node] & {"state", "index", "output_cotangent", "state_cotangent"})

    def backward(self, node: Node) -> bool:
        return bool(self.of[node] & {"output_cotangent", "state_cotangent"})

    def per_row(self, node: Node) -> bool:
        """Worth computing once per row: it depends on the row's context only, and is more than a rearrangement."""
        return node.rows and self.of[node] <= {"row", "param"} and node.op not in ("input", "view", "reshape", "const")

    def hoisted(self, node: Node) -> bool:
        """Whether the loop reads it ready made."""
        if not node.rows or node.op in ("input", "const"):
            return not node.rows
        if self.bound(node):
            return False
        return self.per_row(node) or node.op == "gather" or (node.op == "product" and node.args[0].shape[-1] > TINY)


def _backward(found: Split, kinds: _Kinds) -> None:
    gradients = found.step.gradients
    states = [gradients.get(f"state.{i}") for i in range(len(found.step.states))]
    found.state_gradients = states
    found.cotangents = [] if found.step.asked is None else list(found.step.asked.cotangents or ())
    recurrent = ancestors([g for g in (*states, *found.cotangents) if g is not None])
    late: set[Node] = set()
    for node in found.step.graph.nodes:
        starts = node.op in ("outer", "scatter", "aten", "item") or (node.op == "product" and node not in recurrent)
        if kinds.backward(node) and (starts or any(a in late for a in node.args)) and node not in recurrent:
            late.add(node)
    boundary: set[Node] = set()
    for name, gradient in gradients.items():
        if gradient is not None and not name.startswith("state."):
            _result(found, name, gradient, late, kinds)
    for node in sorted(ancestors(found.after.values()), key=lambda n: n.index):
        if node in late:
            boundary.update(a for a in node.args if a not in late and a.rows and kinds.bound(a))
            for a in node.args:
                if a.op == "total" and a not in late and a not in found.totals:
                    found.totals.append(a)
    found.inside = sorted((n for n in boundary if kinds.backward(n)), key=lambda n: n.index)
    forced = {n for n in boundary if not kinds.backward(n)}
    found.operands = sorted(forced, key=lambda n: n.index)
    used = _forward_values(found, kinds)
    fixed = forced | {found.step.output}
    kept = to_keep(
        used,
        free=lambda n: (kinds.hoisted(n) and n not in found.before) or _readable(n),
        lost=lambda n: n.op in ("product", "reduce", "copy") or n.op == "input",
        kept=fixed,
    )
    found.kept = sorted(set(kept) | forced, key=lambda n: n.index)
    for node in sorted(ancestors_until(used, lambda n: kinds.hoisted(n) or n in found.kept), key=lambda n: n.index):
        if node not in found.kept:
            _place(found, node, kinds)


def _readable(node: Node) -> bool:
    return node.op == "const" or (node.op == "input" and node.attrs[0] in ("step", "row", "index", "param"))


def _result(found: Split, name: str, node: Node, late: set[Node], kinds: _Kinds) -> None:
    if name.startswith("param."):
        found.after[name] = node
        if node.op == "total" and node not in late and node not in found.totals:
            found.totals.append(node)
    elif name in {n.attrs[1] for n in found.step.graph.nodes if n.op == "input" and n.attrs[0] == "row"}:
        if node in late:
            found.after[name] = node
        else:
            found.row_totals[name] = node
    elif node in late:
        found.after[name] = node
    else:
        found.direct[name] = node


def _forward_values(found: Split, kinds: _Kinds) -> set[Node]:
    """Nodes without cotangents that the backward loop reads."""
    roots = [n for n in (*found.state_gradients, *found.cotangents) if n is not None]
    roots += [*found.inside, *(t.args[0] for t in found.totals), *found.row_totals.values(), *found.direct.values()]
    used: set[Node] = {n for n in roots if not kinds.backward(n)}
    for node in ancestors(roots):
        if kinds.backward(node):
            used.update(a for a in node.args if not kinds.backward(a) and a.rows)
    return used

"""Values that may take another's memory: what is kept lies where the loop has read for the last time."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Any, NamedTuple

from rondeau.recurrence.extent import Extent
from rondeau.recurrence.ir import POINTWISE, Node, compose, strides_of
from rondeau.recurrence.plan.program import Place, Program


class Group(NamedTuple):
    """Roots of one phase, depth and shape: one loop computes them, each index once, reading before it writes."""

    phase: int
    depth: int
    shape: tuple[int, ...]

    def before(self, other: Group) -> bool:
        return (self.phase, self.depth) < (other.phase, other.depth)


class Read(NamedTuple):
    """A leaf read in a group: at `start + index`, or (None) somewhere else too."""

    leaf: Node
    group: Group
    start: int | None


def pieces(
    node: Node, leaves: Container[Node] = (), offset: int = 0, strides: tuple[int, ...] | None = None
) -> list[tuple[Node, int, tuple[int, ...]]]:
    """A `cat` as its parts, each with its offset and strides in the whole; one of the `leaves` is read as it is."""
    strides = strides_of(node.shape) if strides is None else strides
    if node.op != "cat" or node in leaves:
        return [(node, offset, strides)]
    found, axis, start = [], node.attrs[0], 0
    for part in node.args:
        found += pieces(part, leaves, offset + start * strides[axis], strides)
        start += part.shape[axis]
    return found


def reads(program: Program) -> list[Read]:
    """Every leaf that a loop of the program reads, and where."""
    found: list[Read] = []
    roots = dict.fromkeys(n for phase in program.phases for n in phase.roots)
    for root in roots:
        phase, depth = program.phase.get(root, len(program.phases) - 1), program.depth.get(root, 0)
        if root.op == "reduce":
            source = root.args[0]
            found += _walk(program, source, Group(phase, depth, source.shape))
        else:
            for piece, _, _ in pieces(root, program.leaves):
                found += _walk(program, piece, Group(phase, depth, piece.shape))
    for node in program.inner:
        if node.op == "product" and node.args[0] in program.leaves:
            found.append(Read(node.args[0], Group(len(program.phases), 0, ()), None))
    return found


def _walk(program: Program, root: Node, group: Group) -> Iterator[Read]:
    identity: Any = tuple((0, ((a, 1),)) for a in range(len(root.shape)))
    waiting: list[tuple[Node, Any]] = [(root, identity)]
    seen = set()
    while waiting:
        node, maps = waiting.pop()
        if (node, maps) in seen or node.op == "const":
            continue
        seen.add((node, maps))
        if node in program.leaves:
            yield Read(node, group, _start(maps, group))
        elif node.op == "view":
            waiting.append((node.args[0], None if maps is None else compose(maps, node.attrs)))
        elif node.op in POINTWISE or node.op == "copy":
            waiting.extend((a, maps) for a in node.args)
        elif node.op not in ("reduce", "product"):
            waiting.extend((a, None) for a in node.args)


def _start(maps: Any, group: Group) -> int | None:
    if maps is None or len(maps) != 1 or len(group.shape) != 1 or maps[0][1] != ((0, 1),):
        return None
    return int(maps[0][0])


def lay_over(program: Program, kept: Iterable[Node], hosts: Iterable[Node]) -> dict[Node, Place]:
    """For nodes stored at each step, places within the hosts, which are leaves of one value per step.

    A value may lie where its own loop, at the same index, is the last to read.
    """
    every = reads(program)
    taken: dict[Node, set[int]] = {}
    found: dict[Node, Place] = {}
    for node in kept:
        if node.op not in POINTWISE or node.dtype != "float" or len(node.shape) != 1 or isinstance(node.shape[0], Extent):
            continue
        group = Group(program.phase[node], program.depth[node], node.shape)
        for host in hosts:
            start = _free(node, host, group, every, taken.setdefault(host, set()), program)
            if start is not None:
                taken[host].update(range(start, start + node.size))
                found[node] = Place("token", f"n{host.index}", start, host.size)
                break
    return found


def _free(
    node: Node, host: Node, group: Group, every: list[Read], taken: set[int], program: Program
) -> int | None:
    own = {r.start for r in _walk(program, node, group) if r.leaf is host}
    if len(own) != 1 or None in own:
        return None
    start = own.pop()
    if start is None or taken.intersection(range(start, start + node.size)):
        return None
    for read in every:
        if read.leaf is host and not (read.group == group and read.start == start):
            if read.start is None or _overlap(read.start, read.group.shape[0], start, node.size):
                return None
    return start


def _overlap(a: int, n: int, b: int, m: int) -> bool:
    return a < b + m and b < a + n


def may_replace(program: Program, node: Node, buffer: dict[Node, Place]) -> bool:
    """Whether `node`, a result of the program, may be written over the leaves that lie in one buffer, place by place."""
    phase, depth = program.phase[node], program.depth[node]
    for read in reads(program):
        place = buffer.get(read.leaf)
        if place is None:
            continue
        if read.start is None:
            return False
        where = place.start + read.start
        for piece, offset, strides in pieces(node, program.leaves):
            group = Group(phase, depth, piece.shape)
            if len(piece.shape) != 1 or strides != (1,):
                return False
            if _overlap(where, read.group.shape[0], offset, piece.size) and not (
                read.group.before(group) or (read.group == group and where == offset)
            ):
                return False
    return True

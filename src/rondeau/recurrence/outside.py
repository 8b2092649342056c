"""What torch computes before and after the loops of a step: laid out once for each kind of call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rondeau.recurrence import pool
from rondeau.recurrence.extent import Extent, known
from rondeau.recurrence.ir import Node
from rondeau.recurrence.loops import OUTPUT, Loop, Loops, kept_place
from rondeau.recurrence.plan.program import Place
from rondeau.recurrence.recipe import LENGTHS, STEPS, Recipe, owners

NARROW = (torch.int32, torch.int16, torch.int8, torch.uint8)


class Sources:
    """Where the tensors of a call go; `states`: which of them are initial states."""

    def __init__(self, recipe: Recipe, loops: Loops, names: Sequence[str]) -> None:
        self.whole: list[tuple[int, int]] = []
        self.rowwise: list[tuple[int, int]] = []
        self.states = [i for i, name in enumerate(names) if name.startswith("state.")]
        for i, name in enumerate(names):
            node = loops.node(name)
            if node is None or node.attrs[0] == "state":
                continue
            kind = node.attrs[0]
            place = recipe.given(node, once_per_row=kind == "row")
            (self.whole if kind == "param" else self.rowwise).append((place, i))

    def put(self, values: list[Any], tensors: Sequence[Tensor]) -> None:
        for place, i in self.whole:
            values[place] = tensors[i]
        for place, i in self.rowwise:
            values[place] = plain(tensors[i])


class Before:
    """A forward loop: what it reads, and the values that torch computes for it.

    Attributes:
        hoisted: products for all steps at once: where in the recipe, and the buffer they are; `buffers`: all that the
            backward loop will read, with the elements of an entry.
        reads: where in the recipe; `slots`: the words of the loop's arguments for these, the buffers, the output and
            what the user asked for.
    """

    def __init__(self, loops: Loops, names: Sequence[str], train: bool, tiled: bool) -> None:
        self.loop = loops.training if train else loops.inference
        self.recipe = recipe = Recipe(loops.dtype, loops.split.rows_before)
        self.sources = Sources(recipe, loops, names)
        self.hoisted: list[tuple[int, Place]] = []
        for node in loops.split.before:
            if node.op == "product" and len(node.shape) == 1 and not (tiled and node in self.loop.tiles):
                operand, weight = recipe.value(node.args[0]), recipe.whole(node.args[1])
                recipe.compute(node, partial(_pooled, node.size, loops.dtype), operand, weight, STEPS)
                self.hoisted.append((recipe.value(node), Place("token", f"n{node.index}")))
        self.buffers = _buffers(loops) if train else {}
        self.reads, slots = _reads(recipe, self.loop, tiled=tiled)
        written = [*self.buffers, OUTPUT, *loops.asked]
        written += self.loop.tiles.values() if tiled else []
        self.slots = [*slots, *(self.loop.slots.get(place) for place in written)]
        self.weights = [recipe.whole(w) for w in self.loop.weights]


class After:
    """A backward loop, and the gradients that torch computes of what it leaves.

    `before`: how many of the recipe's operations come before the loop. `cotangent`: the node, and where the output's
    is put. `gradients`: for each tensor whether it is a state's, and where it will be.
    """

    def __init__(self, loops: Loops, names: Sequence[str], needed: Sequence[bool], tiled: bool) -> None:
        found, self.loop = loops.split, loops.backward
        self.recipe = recipe = Recipe(loops.dtype, found.rows_before)
        self.sources = Sources(recipe, loops, names)
        node = loops.inputs.get(("output_cotangent", "0"))
        self.cotangent = None if node is None else (node, recipe.given(node))
        self.kept = [(recipe.given(n), n, loops.kept.get(n)) for n in found.kept]
        self.reads, slots = _reads(recipe, self.loop, found.kept)
        self.buffers = list(_buffers(loops))
        written = [*self.buffers, OUTPUT, *map(kept_place, found.inside)]
        written += [Place("token", f"direct.{name}") for name in found.direct]
        written += [Place("row_total", name) for name in found.row_totals]
        written += [Place("token", f"cotangent {i}") for i in range(len(found.cotangents))]
        wanted = {name for name, need in zip(names, needed, strict=True) if need}
        self.tiles = {n: bool(tiled and name in wanted) for name, n in loops.late_tiles.items()}
        written += [self.loop.late_tiles[n] for n in self.tiles]
        self.slots = [*slots, *(self.loop.slots.get(place) for place in written)]
        self.weights = [recipe.whole(w) for w in self.loop.weights]
        self.before = len(recipe.lines)
        self.named_tiles = {n: recipe.given(n) for n, made in self.tiles.items() if made}
        named = [(f"direct.{k}", n) for k, n in found.direct.items()]
        named += [(f"row_total.{k}", n) for k, n in found.row_totals.items()]
        self.named = {k: recipe.given_as(k) for k, _ in named}
        places = [*((recipe.given(n), n) for n in found.inside), *((self.named[k], n) for k, n in named)]
        self.written = [(where, node, i) for i, (where, node) in enumerate(places)]
        starts = [self.loop.layout.totals[Place("total", f"t{t.index}")] for t in found.totals]
        self.totals = [(recipe.given(t), t, start) for t, start in zip(found.totals, starts, strict=True)]
        self.gradients = [self._gradient(loops, n, need) for n, need in zip(names, needed, strict=True)]
        read = recipe.read().union(self.reads, (place for _, place in self.gradients if place is not None))
        self.kept = [k for k in self.kept if k[0] in read]
        self.written = [w for w in self.written if w[0] in read]

    def _gradient(self, loops: Loops, name: str, need: bool) -> tuple[bool, int | None]:
        found = loops.split
        kind, _, place = name.partition(".")
        key = place if kind == "context" else name
        if not need:
            return False, None
        if kind == "state":
            return True, int(place)  # also where the step does not read it: a row without steps hands it on
        for at in (f"direct.{key}", f"row_total.{key}"):
            if at in self.named:
                return False, self.named[at]
        after = found.after.get(key)
        if after is None:
            return False, None
        if kind == "param":
            return False, self.recipe.whole(after)
        each = self.recipe.value(after)
        source = loops.node(name)
        if kind == "context" and source is not None and source.attrs[0] == "row":
            return False, self.recipe.add(_sum_rows, each, LENGTHS)
        return False, each

    def put_kept(
        self, values: list[Any], buffers: Mapping[Place, Tensor], output: Tensor, sizes: Mapping[str, int]
    ) -> None:
        for where, node, place in self.kept:
            if place is None:
                values[where] = _shaped(output, node, sizes)
            elif place.within:
                part = buffers[place.buffer].narrow(1, place.start, node.size)
                values[where] = part if node.dtype == "float" else _shaped(part, node, sizes)
            else:
                values[where] = _shaped(buffers[place], node, sizes)

    def put_results(self, values: list[Any], written: Sequence[Tensor], sums: Tensor, sizes: Mapping[str, int]) -> None:
        for where, node, i in self.written:
            values[where] = _shaped(written[i], node, sizes)
        for where, node, start in self.totals:
            first, size = known(start, sizes), known(node.size, sizes)
            values[where] = _whole(sums[first : first + size], node, sizes)


def plain(tensor: Tensor) -> Tensor:
    """The numbers alone, row by row, in a type that loops read."""
    tensor = tensor.detach() if tensor.requires_grad else tensor
    if tensor.dtype in NARROW:
        tensor = tensor.long()
    return tensor if tensor.is_contiguous() else tensor.contiguous()


def _shaped(tensor: Tensor, node: Node, sizes: Mapping[str, int]) -> Tensor:
    if node.dtype != "float":  # loops write numbers only
        tensor = tensor != 0 if node.dtype == "bool" else tensor.long()
    return tensor if len(node.shape) == 1 else tensor.view(tensor.shape[0], *known(node.shape, sizes))


def _whole(tensor: Tensor, node: Node, sizes: Mapping[str, int]) -> Tensor:
    return tensor if len(node.shape) == 1 else tensor.view(known(node.shape, sizes))


def _pooled(size: int, dtype: torch.dtype, operand: Tensor, weight: Tensor, steps: int) -> Tensor:
    """A product in memory that the kept values may take over."""
    return torch.mm(operand, weight, out=pool.take(steps, size, dtype))


def _buffers(loops: Loops) -> dict[Place, int | Extent]:
    """Every buffer of kept values, and how many elements each entry has."""
    return {place.buffer: place.within or node.size for node, place in loops.kept.items()}


def _reads(
    recipe: Recipe, loop: Loop, but: Sequence[Node] = (), tiled: bool = True
) -> tuple[list[int], list[int | None]]:
    """What the loop reads and neither carries nor makes itself: where in the recipe, and among the arguments."""
    kinds = ("token", "row", "param") if tiled else ("token", "row", "param", "tile")
    leaves = [(n, p) for n, p in loop.program.leaves.items() if p.kind in kinds and n not in but]
    places = [
        recipe.whole(node) if place.kind == "param" else recipe.value(node, once_per_row=place.kind == "row")
        for node, place in leaves
    ]
    return places, [loop.slots.get(place) for _, place in leaves]


def _sum_rows(each: Tensor, lengths: Tensor) -> Tensor:
    """The sum over each row's steps."""
    return each.new_zeros(len(lengths), *each.shape[1:]).index_add_(0, owners(lengths), each)

"""`scan` as an operator of torch, which carries the step as text: what torch.compile and torch.export record of a scan.

    rondeau::scan            tensors, lengths, ... -> the output, then the final states
    rondeau::scan_training   the same, and behind them what the backward loop needs
    rondeau::scan_backward   the gradients of the tensors

`names` say what each of the tensors is: "x", "state.0", "context.<name>" or "param.0", the place in the step's
`captured`. What has a value for each step comes, and goes, in one of three forms: `(batch, time, ...)` without lengths;
with them and `padded`, where steps behind a row's length are not read, and zero in results; or row after row,
`(steps, ...)`, with lengths. Registering operators this way leaves torch._dynamo unimported.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from rondeau.errors import DataError, EngineError, ShapeError
from rondeau.recurrence import native
from rondeau.recurrence.extent import Extent, known
from rondeau.recurrence.interpret import interpret
from rondeau.recurrence.ir import Node
from rondeau.recurrence.legal import check
from rondeau.recurrence.loops import Loops
from rondeau.recurrence.plan.program import Place
from rondeau.recurrence.runtime import threads
from rondeau.recurrence.text import read
from rondeau.sequence import Ragged, check_lengths

_GIVEN = "Tensor[] tensors, Tensor? lengths, str[] names, bool padded, bool reverse, str ir"
_library: Any = torch.library.Library("rondeau", "DEF")  # type: ignore[no-untyped-call]
_tags = [torch.Tag.pt2_compliant_tag]
_library.define(f"scan({_GIVEN}) -> Tensor[]", tags=_tags)
_library.define(f"scan_training({_GIVEN}) -> Tensor[]", tags=_tags)
_library.define(f"scan_backward({_GIVEN}, Tensor[] saved, Tensor?[] cotangents, bool[] needed) -> Tensor[]", tags=_tags)


@lru_cache(maxsize=64)
def _loops(ir: str, dtype: torch.dtype) -> Loops:
    return Loops(read(ir), dtype)


class _Form:
    """One call: which tensor is what, and how what has a value for each step is laid out."""

    def __init__(
        self,
        tensors: Sequence[Tensor],
        lengths: Tensor | None,
        names: Sequence[str],
        padded: bool,
        reverse: bool,
        ir: str,
    ) -> None:
        self.given = dict(zip(names, tensors, strict=True))
        self.names, self.tensors = tuple(names), list(tensors)
        self.x = self.given["x"]
        self.lengths, self.padded, self.reverse = lengths, padded or lengths is None, reverse
        dtypes = [t.dtype for t in tensors if t.is_floating_point()]
        self.dtype = dtypes[0] if dtypes else torch.get_default_dtype()
        self.loops = _loops(ir, self.dtype)
        self.sizes = self._sizes()

    def node(self, name: str) -> Node | None:
        """The input a name stands for; None where the step does not read it."""
        return self.loops.node(name)

    def _sizes(self) -> dict[str, Any]:
        """Sizes of memories, found where a tensor has one for an axis."""
        sizes = {}
        for name, tensor in self.given.items():
            node = self.node(name)
            lead = 1 if node is None or not self.each_step(name) else len(self.steps)
            for axis, size in enumerate(() if node is None else node.shape):
                if isinstance(size, Extent) and size.base == 0 and len(size.terms) == 1 and size.terms[0][1] == 1:
                    sizes[size.terms[0][0]] = tensor.shape[axis + lead]
        return sizes

    @property
    def batch(self) -> Any:
        return self.x.shape[0] if self.lengths is None else self.lengths.shape[0]

    @property
    def steps(self) -> tuple[Any, ...]:
        """The leading axes of what has a value for each step."""
        return tuple(self.x.shape[:2]) if self.padded else tuple(self.x.shape[:1])

    @property
    def most(self) -> Any:
        """How many steps there are at most."""
        return self.x.shape[0] * self.x.shape[1] if self.padded else self.x.shape[0]

    def each_step(self, name: str) -> bool:
        node = self.node(name)
        return name == "x" or (node is not None and node.attrs[0] == "step")

    def call(self) -> native.Call:
        """The call as the loops take it. Raises `ShapeError` or `DataError` for tensors that do not fit the step."""
        self._check()
        threads.settle()
        if self.lengths is None:
            lengths = torch.full((self.x.shape[0],), self.x.shape[1])
        elif self.padded:
            lengths = check_lengths(self.lengths, *self.x.shape[:2])
        else:
            lengths = check_lengths(self.lengths, self.lengths.shape[0], self.x.shape[0])
            if int(lengths.sum()) != self.x.shape[0]:
                raise DataError("lengths and values do not fit", expected=len(self.x), got=int(lengths.sum()))
        call = native.Call(self.loops, lengths, self.reverse, self.names)
        call.sizes.update(self.sizes)
        return call

    def _check(self) -> None:
        step = self.loops.step
        expected = {"x", *(f"state.{i}" for i in range(len(step.states)))}
        missing = [n for n in expected if n not in self.given]
        missing += [name for (kind, name), node in self.loops.inputs.items() if not self._finds(kind, name, node)]
        if missing:
            raise ShapeError("rondeau::scan: tensors are missing", expected=", ".join(sorted(missing)), got=self.names)
        for name, tensor in self.given.items():
            node = self.node(name)
            shape = self._shape(name, node)
            if shape is not None and tuple(tensor.shape) != shape:
                raise ShapeError(
                    f"rondeau::scan: {name} does not fit the step", expected=shape, got=tuple(tensor.shape)
                )
            if node is not None and not _fits(tensor, node, self.dtype):
                raise DataError(f"rondeau::scan: {name} has another type", expected=node.dtype, got=tensor.dtype)
        if self.sizes:
            check(step.graph.nodes, self.sizes)

    def _finds(self, kind: str, name: str, node: Node) -> bool:
        return kind not in ("param", "state", "step", "row") or any(self.node(n) is node for n in self.names)

    def _shape(self, name: str, node: Node | None) -> tuple[int, ...] | None:
        kind, _, place = name.partition(".")
        if kind == "state":
            return (self.batch, *self.loops.step.states[int(place)].shape)
        if node is None:
            return None
        shape = tuple(known(node.shape, self.sizes))
        return shape if kind == "param" else (*(self.steps if self.each_step(name) else (self.batch,)), *shape)

    def compressed(self, call: native.Call) -> list[Tensor]:
        """The tensors with what has a value for each step row after row."""
        return [self.compress(t, call) if self.each_step(n) else t for n, t in self.given.items()]

    def compress(self, tensor: Tensor, call: native.Call) -> Tensor:
        if not self.padded:
            return tensor
        if self.lengths is None:
            return tensor.flatten(0, 1)
        return Ragged.from_padded(tensor, call.lengths).values

    def spread(self, values: Tensor, call: native.Call) -> Tensor:
        """The other way round."""
        if not self.padded:
            return values
        if self.lengths is None:
            return values.view(*self.steps, *values.shape[1:])
        return Ragged(values, call.lengths).pad(self.x.shape[1])

    def likes(self) -> list[Tensor]:
        """Empty tensors for the output and the final states."""
        step = self.loops.step
        output = self.x.new_empty((*self.steps, *step.output.shape), dtype=self.dtype)
        return [output, *(self.x.new_empty((self.batch, *s.shape), dtype=self.dtype) for s in step.states)]

    def kept(self) -> dict[Place, Any]:
        """The buffers that the backward loop reads, and how many numbers each holds for a step."""
        places = self.loops.kept.items()
        return {place.buffer: known(place.within or node.size, self.sizes) for node, place in places}


def _fits(tensor: Tensor, node: Node, dtype: torch.dtype) -> bool:
    if node.dtype == "float":
        return tensor.dtype == dtype
    return tensor.dtype == torch.bool if node.dtype == "bool" else not tensor.is_floating_point()


# -- the operators on the CPU


def _scan(*given: Any) -> list[Tensor]:
    form = _Form(*given)
    call = form.call()
    with torch.no_grad():
        output, final, _ = native.forward(call, form.compressed(call), train=False)
    return [form.spread(output.view(-1, *form.loops.step.output.shape), call), *final]


def _scan_training(*given: Any) -> list[Tensor]:
    form = _Form(*given)
    call = form.call()
    with torch.no_grad():
        output, final, kept = native.forward(call, form.compressed(call), train=True)
    found = [kept.buffers.pop(place) for place in form.kept()]
    kept.owned = [t for t in kept.owned if all(t is not f for f in found)]  # torch frees what it is given
    kept.release()
    short = form.most - len(output)
    if short:  # a shape that depends on sizes only, so that it is known before the lengths are
        found = [torch.cat([t, t.new_empty(short, *t.shape[1:])]) for t in found]
    return [form.spread(output.view(-1, *form.loops.step.output.shape), call), *final, *found]


def _scan_backward(
    tensors: list[Tensor],
    lengths: Tensor | None,
    names: list[str],
    padded: bool,
    reverse: bool,
    ir: str,
    saved: list[Tensor],
    cotangents: list[Tensor | None],
    needed: list[bool],
) -> list[Tensor]:
    form = _Form(tensors, lengths, names, padded, reverse, ir)
    call = form.call()
    compressed = form.compressed(call)
    output = form.compress(saved[0], call).flatten(1)
    kept = native.Kept({place: t[: len(output)] for place, t in zip(form.kept(), saved[1:], strict=True)})
    first = cotangents[0]
    grad_output = None if first is None else form.compress(first, call).flatten(1)
    with torch.no_grad():
        found = native.backward(call, compressed, output, kept, grad_output, cotangents[1:], needed, last=False)
    results, taken = [], {t.untyped_storage().data_ptr() for t in (*tensors, *saved, *cotangents) if t is not None}
    for name, tensor, part, gradient, need in zip(names, tensors, compressed, found, needed, strict=True):
        if not need:
            continue
        gradient = torch.zeros_like(part) if gradient is None else gradient.to(tensor.dtype).view(part.shape)
        gradient = (form.spread(gradient, call) if form.each_step(name) else gradient).contiguous()
        if gradient.untyped_storage().data_ptr() in taken:  # operators' results share no memory
            gradient = gradient.clone()
        taken.add(gradient.untyped_storage().data_ptr())
        results.append(gradient)
    return results


# -- their shapes


def _scan_like(*given: Any) -> list[Tensor]:
    return _Form(*given).likes()


def _scan_training_like(*given: Any) -> list[Tensor]:
    form = _Form(*given)
    sizes = form.kept().values()
    return [*form.likes(), *(form.x.new_empty((form.most, size), dtype=form.dtype) for size in sizes)]


def _scan_backward_like(tensors: list[Tensor], *others: Any) -> list[Tensor]:
    needed = others[-1]
    return [t.new_empty(t.shape) for t, need in zip(tensors, needed, strict=True) if need]


# -- their gradients


def _scan_autograd(keys: Any, *given: Any) -> list[Tensor]:
    if torch.is_grad_enabled() and any(t.requires_grad for t in given[0]):
        outputs = torch.ops.rondeau.scan_training.default(*given)
        return list(outputs[: 1 + len(_Form(*given).loops.step.states)])
    with torch._C._AutoDispatchBelowAutograd():
        return list(torch.ops.rondeau.scan.default.redispatch(keys & torch._C._after_autograd_keyset, *given))


def _setup(ctx: Any, inputs: Any, output: list[Tensor]) -> None:
    tensors, lengths, *rest = inputs
    form = _Form(*inputs)
    for name, tensor in form.given.items():
        if tensor.requires_grad and name.removeprefix("context.") not in form.loops.step.gradients:
            fix = "Record it again where gradients are enabled and this tensor requires them"
            raise EngineError(f"the scan was recorded without the gradient of {name}", fix=fix)
    results = 1 + len(form.loops.step.states)
    ctx.save_for_backward(*tensors, lengths, output[0], *output[results:])
    ctx.rest, ctx.count = rest, len(tensors)
    ctx.mark_non_differentiable(*output[results:])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grads: list[Tensor | None]) -> tuple[Any, ...]:
    tensors, (lengths, *saved) = ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
    needed = list(ctx.needs_input_grad[0])
    given = (list(tensors), lengths, *ctx.rest)
    cotangents = list(grads[: len(grads) - len(saved) + 1])
    if torch.is_grad_enabled():  # create_graph=True
        found = iter(_differentiable(given, cotangents, needed))
    else:
        found = iter(torch.ops.rondeau.scan_backward.default(*given, saved, cotangents, needed))
    return [next(found) if need else None for need in needed], *(None,) * 5


def _differentiable(given: Any, cotangents: list[Tensor | None], needed: list[bool]) -> list[Tensor | None]:
    """The gradients as a graph of their own: the steps are interpreted again, one by one, in torch."""
    sources = [t for t, need in zip(given[0], needed, strict=True) if need]
    with torch.enable_grad():
        results = _interpreted(*given)
    pairs = [(r, c) for r, c in zip(results, cotangents, strict=True) if c is not None and r.requires_grad]
    return list(
        torch.autograd.grad([r for r, _ in pairs], sources, [c for _, c in pairs], create_graph=True, allow_unused=True)
    )


def _interpreted(*given: Any) -> list[Tensor]:
    form = _Form(*given)
    call = form.call()
    output, final = interpret(call, form.compressed(call))
    return [form.spread(output, call), *final]


for _name, _kernel, _like in (
    ("scan", _scan, _scan_like),
    ("scan_training", _scan_training, _scan_training_like),
    ("scan_backward", _scan_backward, _scan_backward_like),
):
    _library.impl(_name, _kernel, "CPU")
    torch.library.register_fake(f"rondeau::{_name}", _like, lib=_library)
_library.impl("scan", _scan_autograd, "Autograd", with_keyset=True)
torch.library.register_autograd("rondeau::scan_training", _backward, setup_context=_setup, lib=_library)

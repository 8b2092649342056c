"""Records what a step does, operation by operation, as nodes of a graph. What each becomes is said in `rules`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rondeau.recurrence.ir import Graph, Node, value_of
from rondeau.recurrence.trace.arrange import gather
from rondeau.recurrence.trace.blame import as_text, user_place
from rondeau.recurrence.trace.forms import Declined, Form, numbering, rows_of
from rondeau.recurrence.trace.numbers import OF_TRUTH, check_result

READS = {"_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "allclose", "masked_select", "unique2"}
UNDEFINED = {"empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided"}
# for these, a result in double precision, rounded to single, is the result in single precision (Figueroa 1995)
_EXACT = {"add", "sub", "mul", "div", "neg", "abs", "reciprocal", "sqrt", "maximum", "minimum", "where", "floor",
          "ceil", "round", "trunc", "to_float"}  # fmt: skip


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within this mode, every operation on a known tensor becomes nodes of `graph`.

    Tensors nobody declared are taken as captured from outside: parameters, buffers, what a closure holds. They become
    inputs of kind `param`, in `captured`.
    """

    def __init__(self, batch: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.batch, self.graph = batch, Graph()
        self.dtype = torch.get_default_dtype()  # of the step
        self.numbers = torch.Generator().manual_seed(batch)  # the global one is the user's; and each batch has its own
        self.captured: list[Tensor] = []
        self.backward = False
        self._forms: dict[int, Form] = {}
        self._kept: list[Any] = []  # ids are only good while the tensors live
        self._memory: dict[int, list[Tensor]] = {}  # storage -> the tensors known to lie in it
        self._given: dict[int, str] = {}  # storage that came from outside -> the kind of input it holds
        self.declined: Declined | None = None  # the first reason not to compile the step
        self._depth = 0
        self._origins: list[tuple[int, str, tuple[str, int] | None]] = []  # first node, operation, line
        self._lines: dict[str, tuple[str, int] | None] = {}  # operation -> where the step first asked for it
        self._fixed: set[int] = set()  # tensors that hold the same values at every call

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # True would import torch._dynamo, seconds

    def declare(self, tensor: Tensor, form: Form) -> None:
        """A tensor from outside the step, or one that only helps to record it."""
        self.rebind(tensor, form)
        if form.node.op == "input":
            self._given[_storage(tensor)] = form.node.attrs[0]

    def rebind(self, tensor: Tensor, form: Form) -> None:
        """What `tensor` stands for from now on."""
        if id(tensor) not in self._forms:
            self._kept.append(tensor)
            self._memory.setdefault(_storage(tensor), []).append(tensor)
        self._forms[id(tensor)] = form

    def given(self, tensor: Tensor) -> str | None:
        """The kind of input in whose memory the tensor lies; None for the step's own."""
        return self._given.get(_storage(tensor))

    def sharing(self, tensor: Tensor) -> list[Tensor]:
        """The tensors in the same memory."""
        return self._memory[_storage(tensor)]

    def fixed(self, tensor: Tensor) -> bool:
        """Whether the values of a tensor are the same at every call: made of numbers, within the step."""
        form = self._forms.get(id(tensor))
        return id(tensor) in self._fixed or (form is not None and form.node.op == "const")

    def form(self, value: Any) -> Form:
        """The form of a traced tensor, of a number, or of a tensor captured just now."""
        if not isinstance(value, Tensor):
            return Form(self.graph.const(value, _type_of(value)))
        known = self._forms.get(id(value))
        if known is None:
            if self.batch in value.shape:
                raise Declined("it uses a tensor with rows that was made of something else than tensors")
            node = self.graph.input("param", f"{len(self.captured)}", value.shape, _type_of(value))
            self.captured.append(value)
            self.declare(value, known := Form(node))
        return known

    def outside(self, name: str, args: Any, kwargs: Any, shape: tuple[int, ...], dtype: str = "float") -> Node:
        """A node that torch computes outside the loop."""
        nodes: list[Node] = []
        template = _template(args, nodes), _template(tuple(sorted((kwargs or {}).items())), nodes)
        return self.graph.make("aten", nodes, shape, dtype, (name, template), rows=False)

    # -- the mode

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.split("::")[1]
        place = None
        if self._depth == 0:  # else it is part of another operation
            place = self._place_of_gradient() if self.backward else user_place()
            self._origins.append((len(self.graph.nodes), name, place))
            if not self.backward:
                self._lines.setdefault(_plain(name), place)
        self._depth += 1
        try:
            with torch._C.DisableTorchFunction():  # what the recorder does is no part of the step
                return self._record(func, name, args, kwargs)
        except Declined as declined:
            if declined.reason.startswith("it "):
                declined.reason = f"{'its gradient: ' if self.backward else ''}{name}{declined.reason[2:]}"
            declined.where = declined.where or as_text(place)
            self.refuse(declined)
            raise
        finally:
            self._depth -= 1

    def refuse(self, declined: Declined) -> Declined:
        """Remember it: the step might catch it as an exception of its own."""
        self.declined = self.declined or declined
        return declined

    def origin(self, index: int) -> tuple[str, str | None]:
        """The operation that made the node of this number, and its line."""
        before = [o for o in self._origins if o[0] <= index]
        _, name, place = before[-1] if before else (0, "what it is given", None)
        return name, as_text(place)

    def _place_of_gradient(self) -> tuple[str, int] | None:
        """The line whose gradient torch is computing."""
        node = torch._C._current_autograd_node()
        name = _plain(node.name().partition("Backward")[0]) if node is not None else ""
        return self._lines.get(name)

    def _record(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        from rondeau.recurrence.trace import changes, rules
        from rondeau.recurrence.trace.lookup import rule_for

        if any(t.is_meta for t in _tensors((args, kwargs))) or kwargs.get("device") == torch.device("meta"):
            return func(*args, **kwargs)  # torch asks for the shape of what it knows to be zero
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise Declined(f"{name} draws random numbers (they belong in the cell's draw)")
        if name in READS and not all(self.fixed(t) for t in _tensors((args, kwargs))):
            raise Declined(f"{name} reads a tensor's value")
        new = name in ("lift_fresh", "lift") and id(args[0]) not in self._forms
        forms = [self.form(t) for t in _tensors((args, kwargs))]
        if func._schema.is_mutable:
            return changes.change(self, func, name, args, kwargs)
        out = func(*args, **kwargs)
        constant = all(f.node.op == "const" for f in forms)
        if constant and name in rules.JOINS and self._differs(out):
            constant = False
        if constant or name in rules.FACTORIES:
            self._bind(out, self._constants(name, func, args, kwargs, out))
        elif name in rules.SAME:
            self._bind(out, forms[0])
        elif (lookup := rule_for(self, name, args)) is not None:
            self._bind(out, lookup(self, out, *args, **kwargs))
        elif (name in rules.VIEWS or name in rules.LOOKUPS) and not all(f.outside for f in forms):
            self._bind(out, self.views(func, args, kwargs))
        elif all(f.outside for f in forms):
            self._bind(out, self._outside_results(func, args, kwargs, out))
        else:
            self._bind(out, self._apply(func, name, args, kwargs, out, rules))
        if new or not forms:
            self._fixed.update(id(t) for t in _tensors(out))
        return out

    def _differs(self, out: Any) -> bool:
        return any(self.batch in t.shape and not _uniform(t) for t in _tensors(out))

    def _apply(self, func: Any, name: str, args: Any, kwargs: Any, out: Any, rules: Any) -> Any:
        rule = rules.RULES.get(name)
        if rule is not None:
            return rule(self, out, *args, **kwargs)
        decomposed = rules.decomposition(func)
        if decomposed is None:
            raise Declined(f"{'its gradient needs ' if self.backward else ''}{name}, which the compiler does not know")
        with self:
            results = decomposed(*args, **kwargs)
        if isinstance(results, Tensor):
            return self.form(results)
        return tuple(self.form(r) for r in results)

    def _bind(self, out: Any, forms: Any) -> None:
        outs = list(_tensors(out))
        listed = [forms] if isinstance(forms, Form) else list(forms)
        for tensor, form in zip(outs, listed, strict=True):
            if form is None:
                continue
            if form.node.op != "const" and form.dims(self.batch) != tuple(tensor.shape):
                raise Declined(f"the compiler took {tuple(tensor.shape)} for {form.dims(self.batch)}")
            self.rebind(tensor, self._in_type(tensor, form))

    def _in_type(self, tensor: Tensor, form: Form) -> Form:
        """What torch makes of integers and truth values is of its default type, which may be shorter than ours."""
        if form.node.op == "const" or form.outside:
            return form
        if tensor.dtype == torch.bool and form.node.op in OF_TRUTH:
            args = [a.args[0] if a.op == "to_float" else a for a in form.node.args]
            form = replace(form, node=self.graph.pointwise(OF_TRUTH[form.node.op], *args))
        check_result(form.node, tensor.dtype)
        if not tensor.is_floating_point() or tensor.dtype == self.dtype:
            return form
        node = form.node
        if tensor.dtype == torch.float32 and _short(node):
            return form
        if tensor.dtype != torch.float32 or node.op not in _EXACT or not all(map(_short, node.args)):
            raise Declined(f"it computes in {_name_of(tensor)}, in a step of {self.dtype}")
        args = [self._rounded(a) if a.op == "const" and a.dtype == "float" else a for a in node.args]
        short = self.graph.pointwise(node.op, *args, dtype=node.dtype)
        return Form(self.graph.pointwise("to_single", short, dtype="float"), form.axis, form.merged)

    def _rounded(self, const: Node) -> Node:
        return self.graph.const(torch.tensor(value_of(const), dtype=torch.float32).item())

    # -- operations that need no rule of their own

    def _constants(self, name: str, func: Any, args: Any, kwargs: Any, out: Any) -> list[Form]:
        """What is made of no tensor (or of constants): the same value everywhere, or small and made outside."""
        forms: list[Form] = []
        for tensor in _tensors(out):
            undefined = name in UNDEFINED or tensor._is_zerotensor()  # of the latter, nothing may be read
            if undefined or _uniform(tensor):
                value = 0.0 if undefined else tensor.detach().reshape(-1)[0].item()
                forms.append(self.filled(tensor, value))
            elif any(n % self.batch == 0 for n in tensor.shape):
                raise Declined(f"{name} makes a tensor whose values differ between rows")
            else:
                node = self.outside(
                    str(func), self._nodes(args), self._nodes(kwargs), tuple(tensor.shape), _type_of(tensor)
                )
                forms.append(Form(node))
        return forms

    def filled(self, tensor: Tensor, value: float) -> Form:
        """The same number everywhere; rows are the first axis of the batch's size, or of a multiple of it."""
        shape, batch = list(tensor.shape), self.batch
        axis = next((a for a, n in enumerate(shape) if n == batch), None)
        merged = axis is None and any(n and n % batch == 0 for n in shape)
        if merged:
            axis = next(a for a, n in enumerate(shape) if n and n % batch == 0)
            shape[axis] //= batch
        elif axis is not None:
            del shape[axis]
        kind = _type_of(tensor)
        value = {"float": float, "int": int, "bool": bool}[kind](value)
        return Form(self.graph.make("const", (), shape, kind, (repr(value),), rows=False), axis, merged)

    def _nodes(self, args: Any) -> Any:
        """Arguments with each tensor replaced by its node."""
        if isinstance(args, Tensor):
            return self.form(args).node
        if isinstance(args, (list, tuple)):
            return type(args)(self._nodes(a) for a in args)
        if isinstance(args, dict):
            return {k: self._nodes(a) for k, a in args.items()}
        return args

    def _outside_results(self, func: Any, args: Any, kwargs: Any, out: Any) -> list[Form]:
        name = func._schema.name.split("::")[1]
        outs = list(_tensors(out))
        if any(self.batch in t.shape for t in outs):
            from rondeau.recurrence.trace import rules

            if name not in rules.VIEWS:
                raise Declined(f"{name} makes rows out of values that have none")
            return self._repeated(func, args, kwargs)
        whole = isinstance(out, Tensor)
        shape, dtype = (tuple(out.shape), _type_of(out)) if whole else ((), "several")
        node = self.outside(str(func), self._nodes(args), self._nodes(kwargs), shape, dtype)
        if whole:
            return [Form(node)]
        return [
            Form(self.graph.make("item", (node,), tuple(t.shape), _type_of(t), (i,), rows=False))
            for i, t in enumerate(outs)
        ]

    def _repeated(self, func: Any, args: Any, kwargs: Any) -> list[Form]:
        """A value of no rows repeated for every row, as by `expand`."""
        form = self.form(args[0])
        results = func(numbering(form, self.batch), *args[1:], **kwargs)
        forms = []
        for ids in _tensors(results):
            axis = next(a for a, n in enumerate(ids.shape) if n == self.batch)
            one = ids.select(axis, 0)
            if not torch.equal(ids, one.unsqueeze(axis).expand_as(ids)):
                raise Declined(f"{func._schema.name} makes rows out of values that have none")
            forms.append(Form(gather(self.graph, form.node, one), axis))
        return forms

    def views(self, func: Any, args: Any, kwargs: Any) -> list[Form]:
        """Any rearrangement of elements, found by letting torch rearrange their numbers."""
        form = self.form(args[0])
        name = func._schema.name.split("::")[1]
        for index in _tensors((args[1:], kwargs)):
            if not self.fixed(index):
                raise Declined(f"{name} picks elements by a tensor's values")
        numbers = numbering(form, self.batch)
        if name == "as_strided":
            if not args[0].is_contiguous() or args[0].storage_offset():
                raise Declined("as_strided reads memory in a way the compiler does not know")
            numbers = numbers.contiguous()
        return [self._arranged(form, ids, name) for ids in _tensors(func(numbers, *args[1:], **kwargs))]

    def _arranged(self, form: Form, ids: Tensor, name: str) -> Form:
        if form.axis is None:
            return Form(gather(self.graph, form.node, ids))
        found = rows_of(ids, max(form.node.size, 1), self.batch)
        if found is None:
            raise Declined(f"{name} mixes rows")
        axis, merged, one = found
        return Form(gather(self.graph, form.node, one), axis, merged)


def _short(node: Node) -> bool:
    """Whether float32 holds the numbers: whole ones, truth values, constants and what was rounded to it."""
    while node.op in ("view", "reshape", "copy"):
        node = node.args[0]
    return node.dtype != "float" or node.op in ("const", "to_float", "to_single")


def _name_of(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _uniform(tensor: Tensor) -> bool:
    """Whether all its elements are the same number."""
    flat = tensor.detach().reshape(-1)
    return bool(flat.numel()) and bool(((flat == flat[0]) | (flat.isnan() & flat[0].isnan())).all())


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _type_of(value: Any) -> str:
    if isinstance(value, Tensor):
        return "bool" if value.dtype == torch.bool else "float" if value.is_floating_point() else "int"
    return "bool" if isinstance(value, bool) else "int" if isinstance(value, int) else "float"


def _tensors(args: Any) -> Iterator[Tensor]:
    """The tensors in arguments or results, however they are nested."""
    if isinstance(args, Tensor):
        yield args
    elif isinstance(args, (list, tuple)):
        for a in args:
            yield from _tensors(a)
    elif isinstance(args, dict):
        for a in args.values():
            yield from _tensors(a)


def _template(value: Any, nodes: list[Node]) -> Any:
    """Arguments as hashable text, each node replaced by its place in `nodes`."""
    if isinstance(value, Node):
        nodes.append(value)
        return ("node", len(nodes) - 1)
    if isinstance(value, (list, tuple)):
        return ("list", *(_template(v, nodes) for v in value))
    if isinstance(value, (torch.dtype, torch.device, torch.layout, torch.memory_format)):
        return (type(value).__name__, str(value).removeprefix("torch."))
    return ("value", value)

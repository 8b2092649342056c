"""Records what a step does, operation by operation, as nodes of a graph. The rules for each operation are in `rules`."""

from __future__ import annotations

import linecache
import sys
from pathlib import Path
from typing import Any

import jaxtyping
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from rondeau.recurrence.ir import Graph, Node
from rondeau.recurrence.trace.forms import Declined, Form, affine, numbering, rows_of

_HERE = str(Path(__file__).parent.parent)
_LIBRARIES = tuple(str(Path(m.__file__ or "").parent) for m in (torch, jaxtyping))  # jaxtyping may wrap this very code
READS = {"_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "allclose", "masked_select", "unique2"}
UNDEFINED = {"empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided"}


class Recorder(TorchDispatchMode):
    """Within this mode, every operation on a known tensor becomes nodes of `graph`.

    Tensors nobody declared are taken as captured from outside: parameters, buffers, what a closure holds. They become
    inputs of kind `param`, in `captured`.
    """

    def __init__(self, batch: int) -> None:
        super().__init__()
        self.batch, self.graph = batch, Graph()
        self.numbers = torch.Generator().manual_seed(batch)  # the global one is the user's; and each batch has its own
        self.captured: list[Tensor] = []
        self.backward = False
        self._forms: dict[int, Form] = {}
        self._kept: list[Any] = []  # ids are only good while the tensors live
        self._changed: dict[int, list[Tensor]] = {}  # storage -> tensors through which it was changed in place

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # True would import torch._dynamo, seconds

    def declare(self, tensor: Tensor, form: Form) -> None:
        self._kept.append(tensor)
        self._forms[id(tensor)] = form

    def form(self, value: Any) -> Form:
        """The form of a traced tensor, of a number, or of a tensor captured just now."""
        if not isinstance(value, Tensor):
            return Form(self.graph.const(value, _type_of(value)))
        known = self._forms.get(id(value))
        if known is None:
            if self.batch in value.shape:
                raise Declined(
                    f"it uses a tensor of shape {tuple(value.shape)} that it made of other values than tensors"
                )
            node = self.graph.input("param", f"{len(self.captured)}", value.shape, _type_of(value))
            self.captured.append(value)
            self.declare(value, known := Form(node))
        elif self._changed:
            self._check_fresh(value)
        return known

    def outside(self, name: str, args: Any, kwargs: Any, shape: tuple[int, ...], dtype: str = "float") -> Node:
        """A node that torch computes outside the loop."""
        nodes: list[Node] = []
        template = _template(args, nodes), _template(tuple(sorted((kwargs or {}).items())), nodes)
        return self.graph.make("aten", nodes, shape, dtype, (name, template), rows=False)

    # -- the mode

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        try:
            return self._record(func, args, kwargs)
        except Declined as declined:
            if declined.where is None and not self.backward:
                declined.where = user_line()
            raise

    def _record(self, func: Any, args: Any, kwargs: Any) -> Any:
        from rondeau.recurrence.trace import rules
        from rondeau.recurrence.trace.lookup import rule_for

        name = func._schema.name.split("::")[1]
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise Declined(f"{name} draws random numbers (they belong in the cell's draw)")
        if name in READS:
            raise Declined(f"{name} reads a tensor's value")
        changes = func._schema.is_mutable
        tensors = [t for t in _flat((args, kwargs)) if isinstance(t, Tensor)]
        forms = [self.form(t) for t in tensors]
        if changes:
            return self._change(func, name, args, kwargs, rules)
        out = func(*args, **kwargs)
        if not forms or all(f.node.op == "const" for f in forms) or name in rules.FACTORIES:
            self._bind(out, self._constants(name, func, args, kwargs, out))
        elif name in rules.SAME:
            self._bind(out, forms[0])
        elif (lookup := rule_for(self, name, args)) is not None:
            self._bind(out, lookup(self, out, *args, **kwargs))
        elif name in rules.VIEWS and not all(f.outside for f in forms):
            self._bind(out, self.views(func, args, kwargs))
        elif all(f.outside for f in forms):
            self._bind(out, self._outside_results(func, args, kwargs, out))
        else:
            self._bind(out, self._apply(func, name, args, kwargs, out, rules))
        return out

    def _apply(self, func: Any, name: str, args: Any, kwargs: Any, out: Any, rules: Any) -> Any:
        rule = rules.RULES.get(name)
        if rule is not None:
            return rule(self, out, *args, **kwargs)
        decomposed = rules.decomposition(func)
        if decomposed is None:
            place = "the gradient needs " if self.backward else ""
            raise Declined(f"{place}{name}, which the compiler does not know")
        with self:
            results = decomposed(*args, **kwargs)
        if isinstance(results, Tensor):
            return self.form(results)
        return tuple(self.form(r) for r in results)

    def _bind(self, out: Any, forms: Any) -> None:
        outs = [t for t in _flat(out) if isinstance(t, Tensor)]
        listed = [forms] if isinstance(forms, Form) else list(forms)
        for tensor, form in zip(outs, listed, strict=True):
            if form is None:
                continue
            if form.node.op != "const" and form.dims(self.batch) != tuple(tensor.shape):
                raise Declined(f"the compiler took {tuple(tensor.shape)} for {form.dims(self.batch)}")
            self.declare(tensor, form)

    # -- operations that need no rule of their own

    def _constants(self, name: str, func: Any, args: Any, kwargs: Any, out: Any) -> list[Form]:
        """What is made of no tensor (or of constants): the same value everywhere, or small and made outside."""
        forms: list[Form] = []
        for tensor in (t for t in _flat(out) if isinstance(t, Tensor)):
            axis = next((a for a, n in enumerate(tensor.shape) if n == self.batch), None)
            undefined = name in UNDEFINED or tensor._is_zerotensor()  # of the latter, nothing may be read
            flat = tensor if undefined else tensor.detach().reshape(-1)
            if undefined or (flat.numel() and bool(((flat == flat[0]) | (flat.isnan() & flat[0].isnan())).all())):
                value = 0.0 if undefined else flat[0].item()
                shape = tuple(n for a, n in enumerate(tensor.shape) if a != axis)
                forms.append(
                    Form(self.graph.make("const", (), shape, _type_of(tensor), (repr(value),), rows=False), axis)
                )
            elif any(n % self.batch == 0 for n in tensor.shape):
                raise Declined(f"{name} makes a tensor whose values differ between rows")
            else:
                node = self.outside(
                    str(func), self._nodes(args), self._nodes(kwargs), tuple(tensor.shape), _type_of(tensor)
                )
                forms.append(Form(node))
        return forms

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
        outs = [t for t in _flat(out) if isinstance(t, Tensor)]
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
        for ids in (t for t in _flat(results) if isinstance(t, Tensor)):
            axis = next(a for a, n in enumerate(ids.shape) if n == self.batch)
            one = ids.select(axis, 0)
            found = affine(one) if torch.equal(ids, one.unsqueeze(axis).expand_as(ids)) else None
            if found is None:
                raise Declined(f"{func._schema.name} arranges elements in a way the compiler does not know")
            forms.append(Form(self.graph.view(form.node, found[0], one.shape, found[1]), axis))
        return forms

    def views(self, func: Any, args: Any, kwargs: Any) -> list[Form]:
        """Any rearrangement of elements, found by letting torch rearrange their numbers."""
        form = self.form(args[0])
        results = func(numbering(form, self.batch), *args[1:], **kwargs)
        forms = []
        name = func._schema.name.split("::")[1]
        for ids in (t for t in _flat(results) if isinstance(t, Tensor)):
            if form.axis is None:
                axis, merged, one = None, False, ids
            else:
                found = rows_of(ids, max(form.node.size, 1), self.batch)
                if found is None:
                    raise Declined(f"{name} mixes rows")
                axis, merged, one = found
            where = affine(one)
            if where is None:
                raise Declined(f"{name} arranges elements in a way the compiler does not know")
            forms.append(Form(self.graph.view(form.node, where[0], one.shape, where[1]), axis, merged))
        return forms

    # -- changes in place

    def _change(self, func: Any, name: str, args: Any, kwargs: Any, rules: Any) -> Any:
        target = args[0]
        form = self.form(target)
        if form.node.op == "input":
            what = {"param": "a tensor from outside the step"}.get(form.node.attrs[0], "an input of the step")
            raise Declined(f"{name} changes {what} in place")
        pure = getattr(torch.ops.aten, name[:-1], None)
        if not name.endswith("_") or pure is None:
            raise Declined(f"{name} changes a tensor in place in a way the compiler does not know")
        twin = getattr(pure, func._overloadname if func._overloadname != "" else "default", None)
        if name == "copy_":
            result: Any = rules.copy_into(self, target, *args[1:])
        elif name in ("fill_", "zero_"):
            value = args[1] if len(args) > 1 else 0.0
            source = self.form(value)
            result = Form(self.graph.expand(source.node, form.node.shape), form.axis, form.merged)
            if source.node.op == "const":
                node = self.graph.make("const", (), form.node.shape, form.node.dtype, source.node.attrs, rows=False)
                result = Form(node, form.axis, form.merged)
        elif twin is None:
            raise Declined(f"{name} changes a tensor in place in a way the compiler does not know")
        else:
            with self:
                result = self.form(twin(*args, **kwargs))
        func(*args, **kwargs)
        storage = target.untyped_storage().data_ptr()
        self._changed.setdefault(storage, []).append(target)
        self._forms[id(target)] = result
        return target

    def _check_fresh(self, tensor: Tensor) -> None:
        """Refuse a tensor that was changed through another view of its memory: what it holds now is not its node."""
        changed = self._changed.get(tensor.untyped_storage().data_ptr(), [])
        if any(other is not tensor and _overlap(other, tensor) for other in changed) and changed[-1] is not tensor:
            raise Declined("it reads a tensor that was changed in place through another view of it")


def _overlap(a: Tensor, b: Tensor) -> bool:
    ids = torch.arange(max(1, a.untyped_storage().nbytes() // a.element_size()))
    places = [torch.as_strided(ids, t.shape, t.stride(), t.storage_offset()).reshape(-1) for t in (a, b)]
    return bool(torch.isin(*places).any())


def _type_of(value: Any) -> str:
    if isinstance(value, Tensor):
        return "bool" if value.dtype == torch.bool else "float" if value.is_floating_point() else "int"
    return "bool" if isinstance(value, bool) else "int" if isinstance(value, int) else "float"


def _flat(args: Any) -> list[Any]:
    if isinstance(args, (list, tuple)):
        return [x for a in args for x in _flat(a)]
    if isinstance(args, dict):
        return [x for a in args.values() for x in _flat(a)]
    return [args]


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


def user_line() -> str | None:
    """File, line and text of the innermost frame that is neither a library's nor the compiler's."""
    frame = sys._getframe()
    while frame is not None:
        path = frame.f_code.co_filename
        if not path.startswith((_HERE, *_LIBRARIES)) and not path.startswith("<"):
            text = linecache.getline(path, frame.f_lineno).strip()
            return f"{path}, line {frame.f_lineno}: {text}"
        frame = frame.f_back  # type: ignore[assignment]
    return None

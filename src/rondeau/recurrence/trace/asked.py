"""What a step names, as nodes of the traced graph, so that loops can keep it."""

from __future__ import annotations

import torch
from torch import Tensor

from rondeau.cells.naming import Collector
from rondeau.recurrence.ir import Node
from rondeau.recurrence.keep import Wish
from rondeau.recurrence.trace.forms import Declined
from rondeau.recurrence.trace.recorder import Recorder


class Names(Collector):
    """Name -> node of floating-point numbers, and the type the user sees; a later change in place is another node."""

    def __init__(self, owner: str, r: Recorder, wish: Wish) -> None:
        super().__init__(owner)
        self.recorder, self.wish = r, wish
        self.found: dict[str, tuple[Node, torch.dtype]] = {}
        self.begin(r.batch)

    def put(self, name: str, tensor: Tensor) -> None:
        if self.wish.wants(name):
            self.found[name] = self._number(name, tensor), tensor.dtype

    def _number(self, name: str, tensor: Tensor) -> Node:
        form, graph = self.recorder.form(tensor), self.recorder.graph
        node = form.node
        if form.merged or form.axis not in (0, None) or (form.axis is None and node.op != "const"):
            raise Declined(f"named({name!r}, ...) does not have rows first")
        if node.op == "const":
            value = float(node.attrs[0] == "True") if node.dtype == "bool" else float(node.attrs[0])
            return graph.make("const", (), tuple(tensor.shape[1:]), "float", (repr(value),), rows=False)
        if node.dtype == "int":
            raise Declined(f"named({name!r}, ...) is to be kept, and holds whole numbers")
        return graph.pointwise("to_float", node) if node.dtype == "bool" else node

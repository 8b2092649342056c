"""The table that `summary` prints."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from rondeau.layers.base import Layer
from rondeau.module import BuildableModule

Row = tuple[str, str, str]


def print_summary(model: Any, line_length: int | None, print_fn: Callable[[str], Any] | None) -> None:
    """Layers with output shape and weights, and totals: rich on a terminal, plain text elsewhere or to `print_fn`."""
    rows, totals = summary_rows(model), summary_totals(model)
    title = f'Model: "{model.name}"'
    if print_fn is None and sys.stdout.isatty():
        table = Table(title=title, title_justify="left")
        for heading in ("Layer (type)", "Output Shape", "Param #"):
            table.add_column(heading, justify="right" if heading == "Param #" else "left")
        for row in rows:
            table.add_row(*row)
        console = Console(width=line_length)
        console.print(table)
        console.print("\n".join(totals), highlight=False)
        return
    say = print_fn or print
    for line in [title, *_plain(rows, line_length), *totals]:
        say(line)


def summary_rows(model: Any) -> list[Row]:
    """Name and class, output shape, number of weights of each layer; `?` where a shape is not known yet."""
    rows = []
    shape = getattr(model, "_input", None) and model._input.batch_shape
    for i, layer in enumerate(model.layers):
        if shape is None and i == 0 and layer.input_shape is not None:
            shape = layer.input_shape
        own = layer.input_shape if layer.input_shape is not None else shape
        output = layer.compute_output_shape(own) if own is not None else getattr(layer, "batch_shape", None)
        rows.append((f"{layer.name} ({type(layer).__name__})", _shape_text(output), _count_text(layer)))
        shape = None
    return rows


def summary_totals(model: Any) -> list[str]:
    """Total, trainable and non-trainable weights; weights used twice count once."""
    weights = {id(p): p for p in model.parameters() if _is_built(p)}.values()
    total, trainable = sum(p.numel() for p in weights), sum(p.numel() for p in weights if p.requires_grad)
    counts = {"Total": total, "Trainable": trainable, "Non-trainable": total - trainable}
    lines = [f"{name} params: {number:,}" for name, number in counts.items()]
    if any(isinstance(m, BuildableModule) and not m.built for m in model.modules()):
        lines.append("Some layers have no weights yet: put an Input in front, or call the model once.")
    return lines


def _is_built(parameter: Any) -> bool:
    from torch.nn.parameter import is_lazy

    return not is_lazy(parameter)


def _count_text(layer: Layer) -> str:
    unbuilt = any(isinstance(m, BuildableModule) and not m.built for m in layer.modules())
    return "0 (unbuilt)" if unbuilt else str(layer.count_params())


def _shape_text(shape: Any) -> str:
    if shape is None:
        return "?"
    if isinstance(shape, list):
        return "[" + ", ".join(_shape_text(one) for one in shape) + "]"
    # the batch axis is never part of what a model is
    return "(" + ", ".join(str(size) for size in (None, *shape[1:])) + ("," if len(shape) == 1 else "") + ")"


def _plain(rows: list[Row], line_length: int | None) -> list[str]:
    table = [("Layer (type)", "Output Shape", "Param #"), *rows]
    widths = [max(len(row[i]) for row in table) for i in range(3)]
    if line_length is not None:
        widths[1] = max(widths[1], line_length - widths[0] - widths[2] - 4)
    rule = "-" * (sum(widths) + 4)
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in table]
    return [rule, lines[0], rule, *lines[1:], rule]

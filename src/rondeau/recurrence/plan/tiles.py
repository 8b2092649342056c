"""Products over all steps that the loop makes itself, a few steps of a row at a time, while they are in the cache.

What the loop reads next need not go to memory and back. Worth it where the weight stays in the cache as well.
"""

from __future__ import annotations

from rondeau.recurrence.ir import Node
from rondeau.recurrence.plan.split import Split

STEPS = 8  # of a row at a time, a power of two: one block of rows for the product
LIMIT = 1 << 21  # bytes of a weight; one of this size still comes from the cache for every few rows


def before(split: Split, number: int) -> list[Node]:
    """Products of a per-step input that the forward loop reads. `number`: bytes of one."""
    return [n for n in split.before if n not in split.kept and _reads_steps(n) and _is_small(n, number)]


def after(split: Split, number: int, width: int) -> dict[str, Node]:
    """Gradients by per-step inputs that are products of what the backward loop leaves; rows of whole panels only."""
    return {
        name: node
        for name, node in split.after.items()
        if node.op == "product" and len(node.shape) == 1 and node.args[0] in split.inside
        if not node.args[1].rows and node.size % width == 0 and _is_small(node, number)
    }  # fmt: skip


def _reads_steps(node: Node) -> bool:
    operand = node.args[0]
    return node.op == "product" and len(node.shape) == 1 and operand.op == "input" and operand.attrs[0] == "step"


def _is_small(node: Node, number: int) -> bool:
    weight = node.args[1]
    return len(weight.shape) == 2 and all(type(n) is int for n in weight.shape) and weight.size * number <= LIMIT

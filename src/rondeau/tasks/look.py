"""Into a model that answers examples: what its answers rest on, and what its state holds meanwhile."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from rondeau.errors import ArgumentError
from rondeau.insight import hidden_states, saliency
from rondeau.tasks.rounding import rounded
from rondeau.tasks.run_folder import RunFolder

if TYPE_CHECKING:
    from rondeau.tasks.job import Job

LONGEST = 120  # steps of an example that are explained
EXPLAINED = 3  # examples


class Look(NamedTuple):
    """What to look at.

    Attributes:
        file: data as the task reads them; None: the run's held-out part.
        position: the number of the example, or of the token of a text, from 0; None: some.
        method: of `saliency`.
        learning_rate: whether rising learning rates are tried too, from the run's beginning.
    """

    file: str | None = None
    position: int | None = None
    method: str = "integrated_gradients"
    learning_rate: bool = False


class Explained(NamedTuple):
    """An answer to be explained.

    Attributes:
        x: what the model reads, one row; steps: what each step of it is.
        answer: what was answered; place: where, among the steps, or None for the whole.
        target: from the model's outputs the answer's log-probability, natural, `(rows,)`.
        model: what reads x, where that is a part of the run's model.
    """

    x: Any
    steps: list[str]
    answer: str
    place: int | None
    target: Callable[[Any], Tensor]
    model: Any = None


def look_into(job: Job[Any], run: RunFolder, look: Look, examples: Any = None) -> dict[str, Any]:
    """What is found, in JSON's types, as it stands in `inspect.json`: "text", "saliency", "hidden".

    `examples`: the run's test part, where it has been read already. Empty for a task that explains nothing. Raises
    `ArgumentError` for the number of an example that is not there.
    """
    settings, prepared = job.opened(run)
    model = run.load_model().eval()
    name = "the held-out test part" if look.file is None else look.file
    if look.file is not None:
        end = (look.position or 0) + EXPLAINED
        examples = list(itertools.islice(job.read_inputs(settings, prepared, look.file), end))
    elif examples is None:
        examples = job.read(settings).test
    if look.position is not None and not 0 <= look.position < len(examples):
        raise ArgumentError("position: the example's number", expected=f"0 to {len(examples) - 1}", got=look.position)
    count = min(EXPLAINED, len(examples))
    chosen = [look.position] if look.position is not None else [i * len(examples) // count for i in range(count)]
    explained = [one for i in chosen if (one := job.explain(model, settings, prepared, examples[i])) is not None]
    if not explained:
        return {}
    first = explained[0]
    return {
        "text": {"name": name, "examples": len(examples)},
        "saliency": [_why(one.model or model, one, look.method) for one in explained],
        "hidden": {
            "start": 0,
            "tokens": first.steps,
            "states": [rounded(asdict(state)) for state in hidden_states(first.model or model, first.x)],
        },
    }


def _why(model: Any, one: Explained, method: str) -> dict[str, Any]:
    def bits(outputs: Any) -> Tensor:
        return one.target(outputs) / math.log(2)

    (found,) = saliency(model, one.x, method, bits, tolerance=0.02)
    return {
        "position": one.place,
        "token": one.answer,
        "start": 0,
        "context": one.steps,
        "scores": rounded(found.scores),
        "method": method,
        "bits": rounded(-found.value),
        "baseline_bits": rounded(-found.baseline_value),
        "gap": rounded(found.gap),
        "relative_gap": rounded(found.relative_gap),
    }

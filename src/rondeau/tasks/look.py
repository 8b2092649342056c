"""Into a model that answers examples: what its answers rest on, and what its state holds meanwhile."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from types import MappingProxyType
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
        model: what reads x, where that is a part of the run's model, or is made of it.
        also: what else is told of the answer: "attention", a share for each step.
        unit: of the target: "bits" for a log-probability, else what the number is in, and it is told as it is.
        regrouped: from what each feature of each step read did, `(read, features)`, what each of `steps` did.
        read: what each step read is, where `steps` are regrouped; over them states are shown.
    """

    x: Any
    steps: list[str]
    answer: str
    place: int | None
    target: Callable[[Any], Tensor]
    model: Any = None
    also: Mapping[str, Any] = MappingProxyType({})
    unit: str = "bits"
    regrouped: Callable[[Any], list[float]] | None = None
    read: list[str] | None = None


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
    states = hidden_states(first.model or model, first.x)
    return {
        "text": {"name": name, "examples": len(examples)},
        "saliency": [_why(one.model or model, one, look.method) for one in explained],
        "hidden": {
            "start": 0,
            "tokens": first.steps if first.read is None else first.read,
            # of layers that read these steps: a decoder's are others
            "states": [
                rounded(asdict(state)) for state in states if len(state.values[0]) == len(first.read or first.steps)
            ],
        },
    }


def _why(model: Any, one: Explained, method: str) -> dict[str, Any]:
    told_in_bits = one.unit == "bits"

    def number(outputs: Any) -> Tensor:
        return one.target(outputs) / (math.log(2) if told_in_bits else 1.0)

    (found,) = saliency(model, one.x, method, number, tolerance=0.02)
    scores = found.scores if one.regrouped is None else one.regrouped(found.features)
    sign = -1 if told_in_bits else 1  # of a probability its surprise
    return {
        "position": one.place,
        "token": one.answer,
        "start": 0,
        "context": one.steps,
        "scores": rounded(scores),
        "method": method,
        "unit": one.unit,
        "bits": rounded(sign * found.value),
        "baseline_bits": rounded(sign * found.baseline_value),
        "gap": rounded(found.gap),
        "relative_gap": rounded(found.relative_gap),
        **rounded(dict(one.also)),
    }

"""What a run is asked to do: settings that are options of the command line as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from rondeau.errors import ArgumentError
from rondeau.training.lookup import unknown
from rondeau.training.trainer import resolve_device


def option(default: Any, help: str, choices: Sequence[str] | None = None) -> Any:
    """A setting with its default, what it means in a line, and the words it may be."""
    return field(default=default, metadata={"help": help, "choices": choices})


@dataclass(frozen=True)
class Common:
    """What every job is asked; stands in a run's `config.json`.

    `path`: the data, None for those that the package makes itself. Each other one is an option of `rondeau train`.
    """

    path: str | None = None
    validation: float = option(0.1, "Share of the data on which the best epoch is chosen.")
    test: float = option(0.1, "Share of the data held out to the end.")
    cell: str = option("lstm", "The recurrent cell.", ("lstm", "gru", "simple_rnn"))
    units: int = option(128, "Units of a recurrent layer.")
    layers: int = option(1, "Recurrent layers.")
    dropout: float = option(0.3, "Rate before, between and after the recurrent layers.")
    batch_size: int = option(32, "Rows of a batch.")
    epochs: int = option(10, "Times all of the training part is read, at most.")
    patience: int | None = option(None, "Stop after so many epochs without a better one. Default: train all of them.")
    learning_rate: float = option(2e-3, "Of Adam, at the start; it falls along a cosine.")
    clipnorm: float = option(1.0, "Longest gradient, all weights together.")
    seed: int = option(0, "Same seed, same machine, same result.")
    device: str = option("auto", "Where to train.", ("auto", "cpu", "cuda"))
    checkpoint_seconds: float = option(20.0, "A checkpoint at least this often.")
    insight: bool = option(True, "Sample gradients, gates and states; give advice, and draw them in the report.")

    def check(self) -> None:
        """Raise `ArgumentError` for settings no run can begin with."""
        for name in ("epochs", "batch_size", "layers", "units"):
            if getattr(self, name) < 1:
                raise ArgumentError(name, expected="1 or more", got=getattr(self, name))
        for name in ("learning_rate", "clipnorm"):
            if not getattr(self, name) > 0:
                raise ArgumentError(name, expected="above 0", got=getattr(self, name))
        if self.patience is not None and self.patience < 1:
            raise ArgumentError("patience", expected="1 or more", got=self.patience)
        for one in fields(self):
            choices, value = one.metadata.get("choices"), getattr(self, one.name)
            if choices is not None and value is not None and value not in choices:
                raise unknown(one.name, value, choices)
        resolve_device(self.device)


@dataclass(frozen=True)
class Asking:
    """What `rondeau predict` can be asked, beside a run and its inputs; a task adds its own, None for not asked.

    Each is an option of the command line, made by `option`.
    """

    def check(self) -> None:
        """Raise `ArgumentError` for what cannot be."""

    def given(self) -> dict[str, Any]:
        """What was asked, by name."""
        return {one.name: value for one in fields(self) if (value := getattr(self, one.name)) is not None}


@dataclass(frozen=True)
class Settings(Common):
    """What jobs that learn from records are asked."""

    group: str | None = option(None, "Column of what must not be divided between parts, such as speaker or customer.")
    on_error: str = option("fail", "What a record that cannot be used does.", ("fail", "skip"))

"""`Facts`: all that is known of a training, for rules to read; what was not measured is missing."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from rondeau.errors import CheckpointError
from rondeau.insight import checks
from rondeau.insight.checks import Checks
from rondeau.insight.files import read_lines, read_samples
from rondeau.insight.records import Sample, ScanSample
from rondeau.insight.results import Results, results_from_json

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Facts:
    """What rules read. Each part may be missing: a rule without its facts says nothing.

    Attributes:
        samples: by rising step; history: a record an epoch, with `loss` and perhaps `val_loss`.
        results: the table of a run, baselines first, the model last.
        checks: what the model makes of its input and past.
        settings: of `rondeau train`; None elsewhere. Where they are there, fixes are its options.
    """

    samples: Sequence[Sample] = ()
    history: Sequence[Record] = ()
    results: Results | None = None
    checks: Checks | None = None
    settings: Record | None = None

    @classmethod
    def of(cls, insight: Any, history: Any = None, checks: Checks | None = None) -> Facts:
        """From an `Insight` or a `Monitor`, and what `fit` returned: a `History`, its dict, or a record an epoch."""
        return cls(samples=list(insight.samples), history=_records(history), checks=checks)

    @cached_property
    def late(self) -> list[Sample]:
        """Samples of the second half of the updates, all of them where there are few."""
        half = self.samples[-1].step / 2 if self.samples else 0
        return [sample for sample in self.samples if sample.step >= half]

    @property
    def names(self) -> list[str]:
        """Of the scans."""
        return list(dict.fromkeys(scan.name for sample in self.samples for scan in sample.scans))

    def scans(self, name: str, late: bool = True) -> list[ScanSample]:
        """What was measured of one scan, in the second half of the training, or in all of it.

        Batches of which the longest row is less than half as long as elsewhere are left out, such as last windows.
        """
        samples = self.late if late else self.samples
        found = [scan for sample in samples for scan in sample.scans if scan.name == name]
        longest = max((scan.decay.reach for scan in found), default=0)
        return [scan for scan in found if 2 * scan.decay.reach >= longest]

    @cached_property
    def start(self) -> float | None:
        """The loss before the first update; of the first epoch where that is unknown, or that of one window alone.

        A batch may be easy: of its loss and the first epoch's the larger counts, up to twice the batch's; beyond, it is
        training that has made it worse.
        """
        begin = self.samples[0] if self.samples and self.samples[0].step == 0 else None
        epoch = self.curve[0] if self.curve else None
        if begin is None or begin.loss is None or any(scan.cut for scan in begin.scans):
            return epoch
        return begin.loss if epoch is None else max(begin.loss, min(epoch, 2 * begin.loss))

    @cached_property
    def curve(self) -> list[float]:
        """The training loss of each epoch, or of each sample."""
        found = [float(record["loss"]) for record in self.history if record.get("loss") is not None]
        return found or [sample.loss for sample in self.samples if sample.loss is not None]

    @cached_property
    def held_out(self) -> list[float]:
        """The held-out loss of each epoch."""
        return [float(record["val_loss"]) for record in self.history if record.get("val_loss") is not None]

    @property
    def learnt(self) -> float | None:
        """The share of the first loss that the training took off, at its end; negative where the loss rose.

        None where that is not known, or no number; nor is a share of a log-likelihood anything, whose 0 is nowhere.
        """
        if self.setting("likelihood") in ("gaussian", "student_t", "negative_binomial"):
            return None
        if not self.start or not self.curve or not self.start > 0:
            return None
        learnt = 1 - median(self.curve[-3:]) / self.start
        return learnt if math.isfinite(learnt) else None

    @cached_property
    def gradients(self) -> list[float]:
        """The gradient's norm at each sample, infinite ones left out."""
        found = [sample.gradient for sample in self.samples]
        return [norm for norm in found if norm is not None and math.isfinite(norm)]

    def setting(self, name: str) -> Any:
        """An option of `rondeau train`; None elsewhere."""
        return None if self.settings is None else self.settings.get(name)

    def fix(self, argument: str, command: str) -> str:
        """`command` for a run of `rondeau train`, else `argument`."""
        return argument if self.settings is None else command


def facts_of(folder: str | os.PathLike[str]) -> Facts:
    """From the files of a run's folder, or of the folder of an `Insight`. Raises `CheckpointError` for damaged ones."""
    path = Path(folder)
    config, results, checked = (_json(path / name) for name in ("config.json", "results.json", checks.FILE))
    return Facts(
        samples=read_samples(path),
        history=read_lines(path / "history.jsonl"),
        results=None if results is None else results_from_json(results, path / "results.json"),
        checks=None if checked is None else checks.checks_from_json(checked),
        settings=None if config is None else config.get("settings"),
    )


def _json(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError("a file of the run is damaged", where=file, got=error) from error
    if not isinstance(data, dict):
        raise CheckpointError("a file of the run is damaged", where=file, expected="a JSON object")
    return data


def _records(history: Any) -> list[Record]:
    if history is None:
        return []
    by_name = getattr(history, "history", history)
    if not isinstance(by_name, Mapping):
        return list(by_name)
    epochs = len(by_name.get("loss", []))
    return [{name: values[i] for name, values in by_name.items() if i < len(values)} for i in range(epochs)]

"""What insight measured, and its figures, as event files that the `tensorboard` program shows."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rondeau.errors import MissingExtraError
from rondeau.insight.files import FILE, read_lines, read_samples
from rondeau.insight.records import Sample, sample_from_json
from rondeau.report.figures import curves, dynamics, flow, gates, updates
from rondeau.report.figures.drawing import PAPER
from rondeau.report.figures.hidden import heat_maps, trajectories
from rondeau.report.figures.learning_rate import learning_rate_curve
from rondeau.training.callbacks import Callback
from rondeau.training.callbacks.base import Logs

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


Drawings = dict[str, Callable[[], Figure | None]]


def write_tensorboard(run: Path, log_dir: Path) -> None:
    """Write a run's epochs, samples and figures into `log_dir`.

    Scalars: `epoch/<metric>`, and by update `insight/gradient_norm`, `insight/clipped_share`,
    `insight/ratio/<parameter>`, `insight/<scan>/memory`, `.../decay`, `.../gate/<gate>/at_low`, .... Figures: those of
    the report. Raises `MissingExtraError` without the package `tensorboard`.
    """
    samples = read_samples(run)
    history = read_lines(run / "history.jsonl")
    writer = _writer(log_dir)
    try:
        for record in history:
            for name, value in record.items():
                if name != "epoch" and isinstance(value, (int, float)):
                    writer.add_scalar(f"epoch/{name}", value, record.get("epoch"))
        for i in range(len(samples)):
            _scalars(writer, samples[: i + 1])
        last = samples[-1].step if samples else len(history)
        drawings: Drawings = {"curves": partial(curves.learning_curves, history)}
        _figures(writer, last, drawings | _drawings(samples) | _inspected(run))
    finally:
        writer.close()


class TensorBoardInsight(Callback):
    """Writes what insight measures to TensorBoard while a model trains: scalars as samples come, figures at epoch ends.

    It stands beside the callback that gathers the samples, and reads them from the run's folder.

    Args:
        run: the run's folder, into which `insight.jsonl` is written.
        log_dir: the folder of TensorBoard's files.

    Raises `MissingExtraError` without the package `tensorboard`. A run that is taken up again goes on where the samples
    of its folder end.
    """

    turn = 1  # after those that write samples

    def __init__(self, run: str | os.PathLike[str], log_dir: str | os.PathLike[str] = "logs/insight") -> None:
        self.file, self.log_dir = Path(run) / FILE, Path(log_dir)
        self.writer: SummaryWriter | None = None
        self.samples: list[Sample] = []
        self.size, self.step = 0, -1

    def on_train_begin(self, logs: Logs) -> None:
        self.size, self.step, self.samples = 0, -1, []
        self.writer = _writer(self.log_dir)

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        self._take()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self._take()
        if self.writer is not None and self.samples:
            _figures(self.writer, self.samples[-1].step, _drawings(self.samples))
            self.writer.flush()

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def _take(self) -> None:
        """Read what was written since the last time, whole lines only, and write the scalars of what is new."""
        size = self.file.stat().st_size if self.file.exists() else 0
        if size < self.size:  # begun anew
            self.size, self.samples = 0, []
        if size == self.size:
            return
        with self.file.open("rb") as file:
            file.seek(self.size)
            lines = file.read()
        lines = lines[: lines.rfind(b"\n") + 1]
        self.size += len(lines)
        for line in lines.splitlines():
            self.samples.append(sample_from_json(json.loads(line)))
            if self.samples[-1].step > self.step and self.writer is not None:
                self.step = self.samples[-1].step
                _scalars(self.writer, self.samples)

    def state(self) -> dict[str, Any]:
        return {"step": self.step}

    def restore(self, state: dict[str, Any]) -> None:
        self.step = state["step"]


def scalars(samples: list[Sample]) -> Iterator[tuple[str, float]]:
    """Names and values of the last of the samples; what is not known is left out."""
    last = samples[-1]
    known = [sample.clipped for sample in samples if sample.clipped is not None]
    pairs: list[tuple[str, float | None]] = [
        ("loss", last.loss),
        ("learning_rate", last.rate),
        ("gradient_norm", last.gradient),
        ("clipped_share", sum(known) / len(known) if known else None),
    ]
    pairs += [(f"ratio/{weight.name}", weight.ratio) for weight in last.weights]
    for scan in last.scans:
        pairs += [
            (f"{scan.name}/memory", flow.reached(scan)),
            (f"{scan.name}/decay", scan.decay.factor),
        ]
        for kind, parts in (("gate", scan.gates), ("state", scan.states)):
            for part, values in parts.items():
                pairs += [
                    (f"{scan.name}/{kind}/{part}/{name}", getattr(values, name))
                    for name in ("mean", "at_low", "at_high", *(("dead", "stuck") if kind == "state" else ()))
                ]
        if scan.time_constants:
            pairs.append((f"{scan.name}/time_constant", scan.time_constants[len(scan.time_constants) // 2]))
    for one in last.dynamics:
        pairs.append((f"{one.name}/spectral_radius", one.radius))
        pairs.append((f"{one.name}/lyapunov", max(one.exponents, default=None)))
    yield from ((f"insight/{name}", float(v)) for name, v in pairs if v is not None and not math.isnan(v))


def _scalars(writer: SummaryWriter, samples: list[Sample]) -> None:
    for name, value in scalars(samples):
        writer.add_scalar(name, value, samples[-1].step)


def _drawings(samples: list[Sample]) -> Drawings:
    if not samples:
        return {}
    found: Drawings = {
        "gradient_flow": partial(flow.gradient_flow, samples),
        "memory": partial(flow.memory, samples),
        "time_constants": partial(gates.time_constants, samples),
        "gradient_norm": partial(updates.gradient_norm, samples),
        "update_ratios": partial(updates.update_ratios, samples),
    }
    for name in flow.scan_names(samples):
        found[f"{name}/histograms"] = partial(gates.histograms, samples, name)
        found[f"{name}/state"] = partial(gates.states, samples, name)
    latest = dynamics.latest(samples)
    for one in latest[1] if latest else []:
        found[f"{one.name}/jacobian"] = partial(dynamics.jacobian, one)
    return found


def _inspected(run: Path) -> Drawings:
    """What `rondeau inspect` has found, as far as it is drawn and not marked in a text."""
    file = run / "inspect.json"
    inspected = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    hidden = inspected.get("hidden") or {"states": [], "tokens": []}
    found: Drawings = {}
    for layer, group in groupby(hidden["states"], key=lambda one: str(one["name"])):
        states = list(group)
        found[f"{layer}/units"] = partial(heat_maps, states, hidden["tokens"])
        found[f"{layer}/trajectories"] = partial(trajectories, states, hidden["tokens"])
    if inspected.get("learning_rate"):
        found["learning_rate"] = partial(learning_rate_curve, inspected["learning_rate"])
    return found


def _figures(writer: SummaryWriter, step: int, drawings: Drawings) -> None:
    import numpy

    for name, draw in drawings.items():
        figure = draw()
        if figure is not None:
            figure.set_facecolor(PAPER)
            figure.set_dpi(120)
            canvas: Any = FigureCanvasAgg(figure)
            canvas.draw()
            picture = numpy.asarray(canvas.buffer_rgba())[..., :3]
            writer.add_image(f"insight/{name}", picture, step, dataformats="HWC")


def _writer(log_dir: Path) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        fix = "Install it: pip install 'rondeau[tensorboard]'"
        raise MissingExtraError("TensorBoard needs the package tensorboard", fix=fix) from error
    return SummaryWriter(os.fspath(log_dir))

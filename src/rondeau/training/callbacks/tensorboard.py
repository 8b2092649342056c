"""`TensorBoard`: losses, metrics and weights as event files that the `tensorboard` program shows."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError, MissingExtraError
from rondeau.training.callbacks.base import Callback, Logs
from rondeau.training.callbacks.learning_rate import log_rates
from rondeau.training.callbacks.monitor import whole

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_REFUSED = {
    "write_graph": ("there is no graph to write", "Leave it out; model.summary() shows the layers"),
    "profile_batch": ("batches are not profiled", "Run fit inside torch.profiler.profile(...)"),
    "embeddings_freq": ("embeddings are not written", "Use torch.utils.tensorboard.SummaryWriter.add_embedding"),
    "embeddings_metadata": ("embeddings are not written", "Use torch.utils.tensorboard.SummaryWriter.add_embedding"),
}


class TensorBoard(Callback):
    """Writes `epoch_loss`, `epoch_accuracy`, ..., and the learning rate into `log_dir/train`, those of validation into
    `log_dir/validation`. See them with `tensorboard --logdir LOG_DIR`.

    Args:
        log_dir: the folder (default 'logs').
        histogram_freq: every so many epochs a histogram of each weight (default 0: never).
        write_images: with each histogram an image of the weight too, if it has one or two axes (default false).
        write_steps_per_second: `epoch_steps_per_second`, and `batch_steps_per_second` where batches are written.
        update_freq: 'epoch' (default), 'batch', or a number of batches after which `batch_loss`, ... are written too.

    `write_graph`, `profile_batch`, `embeddings_freq` and `embeddings_metadata` are refused. Raises `MissingExtraError`
    without the package `tensorboard`. A run that is taken up again writes the epochs since its checkpoint once more.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        write_graph: bool = False,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ) -> None:
        given = (write_graph, profile_batch, embeddings_freq, embeddings_metadata)
        for (name, (why, fix)), value in zip(_REFUSED.items(), given, strict=True):
            if value:
                raise ArgumentError(f"TensorBoard: {name} has no meaning here: {why}", got=repr(value), fix=fix)
        self.log_dir = Path(log_dir)
        self.histogram_freq = whole("TensorBoard", "histogram_freq", histogram_freq)
        self.update_freq = 1 if update_freq == "batch" else update_freq
        if self.update_freq != "epoch":
            self.update_freq = whole("TensorBoard", "update_freq, if not 'epoch' or 'batch'", self.update_freq, 1)
        self.write_images, self.write_steps_per_second = write_images, write_steps_per_second
        self._new_writer = _summary_writer()
        self._writers: dict[str, SummaryWriter] = {}
        self._batches = 0
        self._training = False

    def _writer(self, part: str) -> SummaryWriter:
        if part not in self._writers:
            self._writers[part] = self._new_writer(os.fspath(self.log_dir / part))
        return self._writers[part]

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers, self._training = {}, False

    def on_train_begin(self, logs: Logs) -> None:
        self._batches, self._training = 0, True

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        self._epoch_began = (time.perf_counter(), self._batches)

    def on_train_batch_begin(self, batch: int, logs: Logs) -> None:
        self._batch_began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        self._batches += 1
        if isinstance(self.update_freq, int) and self._batches % self.update_freq == 0:
            self._scalars("train", "batch_", logs, self._batches)
            if self.write_steps_per_second:
                rate = 1 / max(time.perf_counter() - self._batch_began, 1e-9)
                self._scalars("train", "batch_", {"steps_per_second": rate}, self._batches)

    def on_test_end(self, logs: Logs) -> None:
        steps = getattr(self.model.optimizer, "iterations", self._batches)
        self._scalars("validation", "evaluation_", {f"{name}_vs_iterations": v for name, v in logs.items()}, steps)
        if not self._training:
            self.close()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        train = {name: value for name, value in logs.items() if not name.startswith("val_")}
        log_rates(self.model.optimizer, train)
        if self.write_steps_per_second and hasattr(self, "_epoch_began"):  # a resumed run begins inside an epoch
            began, batches = self._epoch_began
            train["steps_per_second"] = (self._batches - batches) / max(time.perf_counter() - began, 1e-9)
        self._scalars("train", "epoch_", train, epoch)
        validation = {name.removeprefix("val_"): value for name, value in logs.items() if name.startswith("val_")}
        self._scalars("validation", "epoch_", validation, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._weights(epoch)
        for writer in self._writers.values():
            writer.flush()

    def _scalars(self, part: str, prefix: str, values: Logs, step: int) -> None:
        for name, value in values.items():
            self._writer(part).add_scalar(prefix + name, float(value), step)

    def _weights(self, epoch: int) -> None:
        writer = self._writer("train")
        for name, weight in self.model.named_parameters():
            tag, values = name.replace(".", "/"), weight.detach().float().cpu()
            writer.add_histogram(f"{tag}/histogram", values, epoch)
            image = _image(values) if self.write_images else None
            if image is not None:
                writer.add_image(f"{tag}/image", image, epoch, dataformats="HW")

    def state(self) -> dict[str, Any]:
        return {"batches": self._batches}

    def restore(self, state: dict[str, Any]) -> None:
        self._batches = state["batches"]


def _summary_writer() -> type[SummaryWriter]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        fix = "Install it: pip install 'rondeau[tensorboard]'"
        raise MissingExtraError("TensorBoard needs the package tensorboard", fix=fix) from error
    return SummaryWriter


def _image(weight: Tensor) -> Tensor | None:
    """A weight as a picture, wider than high, black where smallest and white where largest; None for other ranks."""
    plain = weight.squeeze()
    if plain.ndim not in (1, 2):
        return None
    picture = plain[None] if plain.ndim == 1 else plain
    picture = picture.T if picture.shape[0] > picture.shape[1] else picture
    low, high = torch.aminmax(picture)
    return (picture - low) / (high - low).clamp(min=1e-12)

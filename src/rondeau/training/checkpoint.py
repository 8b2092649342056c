"""All that a run must remember to go on bit for bit: weights, optimiser, random numbers, place in the data, states."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rondeau.errors import ArgumentError, CheckpointError
from rondeau.module import BuildableModule
from rondeau.training.callbacks.base import Callback, Logs
from rondeau.training.files import load_tensors, remove_leftovers, save_tensors
from rondeau.training.loop import Loop

_GROUPS = ("model", "optimizer", "metrics", "states", "random", "data", "validation", "callbacks")


def capture(loop: Loop) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and JSON data of a loop that stands between two batches."""
    trainer = loop.trainer
    model = trainer.model
    groups: dict[str, Mapping[str, Tensor]] = {
        "model": model.state_dict(),
        "optimizer": _optimizer_state(trainer.optimizer),
        "metrics": trainer.objective.state_dict(),
        "states": model.states(),
        "random": random_state(model, trainer.device),
        "data": loop.source.state(),
        "validation": {} if loop.validation is None else loop.validation.state(),
        "callbacks": {f"{i}/{name}": t for i, c in enumerate(_remembering(loop)) for name, t in c.tensors().items()},
    }
    tensors = {f"{group}/{name}": t for group, part in groups.items() for name, t in part.items()}
    callbacks = [{"kind": type(c).__name__, "state": c.state()} for c in _remembering(loop)]
    meta = {"epoch": loop.epoch, "batch": loop.batch, "seed": loop.seed, "callbacks": callbacks}
    meta |= {"stopped": bool(model.stop_training)}
    return tensors, meta | {"trainable": {name: p.requires_grad for name, p in model.named_parameters()}}


def restore(loop: Loop, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], where: object) -> None:
    """Put a loop, whose model is built, where `capture` found another like it."""
    trainer = loop.trainer
    model = trainer.model
    groups: dict[str, dict[str, Tensor]] = {g: {} for g in _GROUPS}
    for name, tensor in tensors.items():
        group, _, rest = name.partition("/")
        groups.setdefault(group, {})[rest] = tensor
    kinds = [saved["kind"] for saved in meta["callbacks"]]
    own = [type(callback).__name__ for callback in _remembering(loop)]
    if kinds != own:
        fix = "Resume with the callbacks the run began with"
        raise CheckpointError("the run had other callbacks", expected=kinds, got=own, where=where, fix=fix)
    try:
        model.load_state_dict(groups["model"])
    except RuntimeError as error:
        raise CheckpointError("the checkpoint is of another model", got=error, where=where) from error
    trainer.optimizer.load_state_dict(groups["optimizer"])
    trainer.objective.load_state_dict(groups["metrics"])
    model.load_states(groups["states"])
    for i, (callback, saved) in enumerate(zip(_remembering(loop), meta["callbacks"], strict=True)):
        callback.restore(saved["state"])
        kept = {name.split("/", 1)[1]: t for name, t in groups["callbacks"].items() if name.split("/", 1)[0] == str(i)}
        callback.restore_tensors(kept)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(meta["trainable"][name])
    loop.source.load_state(groups["data"])
    if loop.validation is not None:
        loop.validation.load_state(groups["validation"])
    model.stop_training = meta["stopped"]
    loop.epoch, loop.batch, loop.seed = meta["epoch"], meta["batch"], meta["seed"]
    load_random_state(model, groups["random"])  # last: nothing after it may draw


def random_state(model: torch.nn.Module, device: torch.device) -> dict[str, Tensor]:
    """States of torch's generators, on the CPU and on `device`, and of every module's own."""
    states = {"global/cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states[f"global/{device}"] = torch.cuda.get_rng_state(device)
    for name, module in model.named_modules():
        if isinstance(module, BuildableModule):
            states |= {f"module/{name}/{place}": g.get_state() for place, g in module._generators.items()}
    return states


def load_random_state(model: torch.nn.Module, states: Mapping[str, Tensor]) -> None:
    """Take back what `random_state` gave. Raises `CheckpointError` for a device this machine lacks."""
    modules = dict(model.named_modules())
    for key, state in states.items():
        kind, _, rest = key.partition("/")
        name, _, device = rest.rpartition("/")
        if device != "cpu" and not torch.cuda.is_available():
            fix = "Resume where it began; random numbers are not the same on another kind of device"
            raise CheckpointError("the run was on a device that is not here", got=device, fix=fix)
        if kind == "module":
            modules[name].generator(device).set_state(state)
        elif device == "cpu":
            torch.set_rng_state(state)
        else:
            torch.cuda.set_rng_state(state, device)


def _optimizer_state(optimizer: Any) -> dict[str, Tensor]:
    state = optimizer.state_dict()
    if "param_groups" in state:
        fix = "Give compile the name of an optimiser, or one of rondeau.optimizers"
        raise ArgumentError("a torch optimiser's state cannot be checkpointed without pickle", fix=fix)
    return state  # type: ignore[no-any-return]


def _remembering(loop: Loop) -> list[Callback]:
    """The callbacks a resumed run depends on; those that only show or write something may differ."""
    return [
        callback
        for callback in loop.callbacks
        if type(callback).state is not Callback.state or type(callback).tensors is not Callback.tensors
    ]


class BackupAndRestore(Callback):
    """Keeps a checkpoint in one file, and takes up training from it if it is there.

    Args:
        path: the file; written aside, synced and renamed, so that it is always whole.
        save_freq: 'epoch' (default), or a number of batches.
        seconds: also after this many seconds (default: never).
        delete_checkpoint: remove the file when training has come to its end (default true, as in Keras).

    The run that goes on ends with the same weights, bit for bit, as one that was never interrupted: on the same
    machine, with the same data, arguments and callbacks. Wherever it is listed, it comes last, after the others.
    """

    turn = 2

    def __init__(
        self,
        path: Any,
        save_freq: str | int = "epoch",
        seconds: float | None = None,
        delete_checkpoint: bool = True,
    ) -> None:
        if save_freq != "epoch" and (not isinstance(save_freq, int) or save_freq < 1):
            raise ArgumentError("BackupAndRestore: save_freq", expected="'epoch' or batches", got=repr(save_freq))
        self.path, self.save_freq, self.seconds = Path(path), save_freq, seconds
        self.delete_checkpoint = delete_checkpoint

    def on_train_begin(self, logs: Logs) -> None:
        remove_leftovers(self.path)
        if self.path.exists():
            tensors, meta = load_tensors(self.path, "checkpoint")
            restore(self.loop, tensors, meta, self.path)
        self._saved = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        due = isinstance(self.save_freq, int) and (batch + 1) % self.save_freq == 0
        late = self.seconds is not None and time.monotonic() - self._saved >= self.seconds
        # where a callback has stopped training the epoch still gets its end, and is saved there
        ends = self.model.stop_training and not self.loop.interrupted
        if (due or late or self.loop.interrupted) and not ends:
            self.save()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self.save()

    def on_train_end(self, logs: Logs) -> None:
        if self.delete_checkpoint and not self.loop.interrupted:
            self.path.unlink(missing_ok=True)

    def save(self) -> None:
        """Write the checkpoint now."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(self.path, "checkpoint", *capture(self.loop))
        self._saved = time.monotonic()

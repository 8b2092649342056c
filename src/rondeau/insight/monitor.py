"""`Monitor`: samples of what happens in a model while it trains, taken beside the training."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch

from rondeau.cells.base import state_leaves
from rondeau.errors import ArgumentError
from rondeau.insight.dynamics import dynamics_of_call
from rondeau.insight.flow import measure_flow, named_leaves
from rondeau.insight.names import Names, short
from rondeau.insight.records import Dynamics, Sample, ScanSample
from rondeau.insight.replay import Watched, cut_of, replay
from rondeau.insight.updates import Updates
from rondeau.insight.values import measure_values, time_constants
from rondeau.nn.accelerate import Accelerated, accelerate
from rondeau.recurrence import Keep
from rondeau.recurrence.watch import Call, watching

_CHANGED = "whose inputs or weights were changed in place after they were read, as by another optimiser's step"
DYNAMICS_STEPS, EXPONENTS = 20, 8  # along which dynamics are measured while a model trains, and how many of them


class Monitor:
    """Measures every so many training steps how gradients flow through a model's recurrent layers.

    A sampled step itself is not touched: what every scan took is noted, and after the backward pass a few of its rows
    are computed once more, with states, gates and gradients kept.

    Args:
        model: any `torch.nn.Module`. Recurrent modules of torch.nn are put on scans for the sampled steps
            (`accelerate`), which compute the same within rounding.
        every: sample each so many steps, and of those before the first 1, 2, 4, 8, ..., when most happens (default 50).
        rows: of a batch that are measured, spread over it (default 8).
        steps: at most so many of a row's last steps are measured (default 1000).
        dynamics: the share of the time since the first sample that may go into the dynamics of layers, along one row
            of a batch (default 0.05); 0: never, infinity: with every sample.

    Attributes:
        samples: what was measured so far.

    Raises `ArgumentError` for numbers below 1.
    """

    def __init__(
        self, model: torch.nn.Module, every: int = 50, rows: int = 8, steps: int = 1000, dynamics: float = 0.05
    ) -> None:
        for name, value in (("every", every), ("rows", rows), ("steps", steps)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ArgumentError(f"Monitor: {name}", expected="a whole number, at least 1", got=repr(value))
        if isinstance(dynamics, bool) or not isinstance(dynamics, (int, float)) or not dynamics >= 0:
            raise ArgumentError("Monitor: dynamics", expected="a share of the time, 0 or more", got=repr(dynamics))
        self.model, self.every, self.rows, self.steps, self.dynamics = model, every, rows, steps, dynamics
        self.samples: list[Sample] = []
        self.step = 0
        self._watched: list[tuple[str, Watched]] = []
        self._names = Names(model)
        self._accelerated = Accelerated()
        self._began: float | None = None
        self._spent = self._last = 0.0  # seconds: on dynamics so far, and the last time
        self._open: ExitStack | None = None
        self._over = self._recomputed = False
        self._updates = Updates([], None, known=False)
        self._pending: dict[str, Any] | None = None

    @property
    def due(self) -> bool:
        """Whether the next step is to be sampled."""
        early = self.step < self.every and self.step & (self.step - 1) == 0
        return early or self.step % self.every == 0

    def begin(self) -> None:
        """A training step's forward pass begins: from here on scans are noted, if the step is to be sampled."""
        self.cancel()
        if not self.due:
            return
        self._over = self._recomputed = False
        with ExitStack() as stack:
            self._accelerated = accelerate(self.model, quiet=True)
            stack.callback(self._accelerated.undo)
            stack.enter_context(self._names.following())
            stack.enter_context(watching(self._note, beside=True))
            self._open = stack.pop_all()

    def _note(self, call: Call) -> None:
        if self._over:
            return
        # the backward pass may make the forward pass once more, and must find everything as it was then
        self._recomputed |= torch._C._autograd._top_saved_tensors_default_hooks(False) is not None
        name = self._names.of(call)  # also where there are no gradients, so that others keep their names
        if call.outputs.requires_grad:
            self._watched.append((name, Watched(call)))

    def forward_over(self) -> None:
        """The forward pass has ended: what scans come now belong to others."""
        self._over = True
        if not self._recomputed:
            self._close()

    def _close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def cancel(self) -> None:
        """Forget the step that is under way."""
        self._close()
        self._watched, self._pending = [], None

    def before_update(
        self,
        optimizer: Any = None,
        loss: float | None = None,
        rate: float | None = None,
        epoch: int | None = None,
        window: int | None = None,
        unclipped: Mapping[int, float] | None = None,
    ) -> None:
        """Gradients are there, the update comes next: measure.

        Args:
            optimizer: which will make the update: one of Rondeau's says how it clips.
            loss, rate, epoch: of this step, where known.
            window: steps after which the gradient is cut because an update is made there.
            unclipped: norms of gradients before anyone clipped them, by the `id` of their parameter.
        """
        self._close()
        if not self.due:
            return
        began = time.perf_counter()
        changed = [name for name, watched in self._watched if watched.changed]
        self._watched = [(name, watched) for name, watched in self._watched if name not in changed]
        scans = []
        for name, watched in self._watched:
            sample = measure(name, watched, self.rows, self.steps, window)
            if sample is not None:
                scans.append(sample)
        rows, lengths = _sizes(self._watched)
        calls, self._watched = [(name, watched.call) for name, watched in self._watched], []
        self._updates = updates = Updates.before(self.model, optimizer, unclipped=unclipped)
        self._pending = {
            "step": self.step,
            "epoch": epoch,
            "loss": loss,
            "rate": rate,
            "rows": rows,
            "lengths": lengths,
            "scans": scans,
            "dynamics": self._dynamics(calls),
            "gradient": updates.gradient,
            "clip": updates.clip,
            "clipped": updates.clipped,
            "left": {short(name): self._why(name) for name in self._names.silent} | dict.fromkeys(changed, _CHANGED),
            "seconds": time.perf_counter() - began,
        }

    def _dynamics(self, calls: list[tuple[str, Call]]) -> list[Dynamics]:
        """Of each layer, along the longest row of the batch: where there is time for it."""
        calls = [(name, call) for name, call in calls if int(call.inputs.lengths.sum()) and has_floats(call)]
        now = time.perf_counter()
        self._began = now if self._began is None else self._began
        due = self._spent + (self._last or sum(_guess(call) for _, call in calls))
        if not self.dynamics or not calls or due > self.dynamics * max(now - self._began, 1e-9):
            return []
        found = []
        for name, call in calls:
            row = int(call.inputs.lengths.argmax())
            found.append(dynamics_of_call(call, name, row, steps=DYNAMICS_STEPS, leading=EXPONENTS))
        self._last = time.perf_counter() - now
        self._spent += self._last
        return found

    def _why(self, name: str) -> str:
        """Why a module of torch.nn that was called made no scan."""
        kind, why = self._accelerated.left.get(name, ("module of torch.nn", "which torch's own function computed"))
        return f"{kind}, {why}"

    def after_update(self) -> Sample | None:
        """The update has been made; gives the step's sample, if it was one."""
        pending, self._pending = self._pending, None
        self.step += 1
        if pending is None:
            return None
        began = time.perf_counter()
        weights = self._updates.after()
        pending["seconds"] += time.perf_counter() - began
        sample = Sample(weights=weights, **pending)
        self.samples.append(sample)
        return sample


def measure(name: str, watched: Watched, rows: int, steps: int, window: int | None = None) -> ScanSample | None:
    """All there is to say of one scan; None without a gradient, a step, or floats in its state."""
    found = replay(watched, rows, steps) if has_floats(watched.call) and watched.reached else None
    if found is None:
        return None
    call = watched.call
    keep = Keep(states=True, intermediates=True, cotangents=True)
    flow, decay = measure_flow(found, keep)
    gates = {gate: kept.values for gate, kept in keep.intermediates.items() if kept.values.is_floating_point()}
    states = {part: kept.values for part, kept in named_leaves(keep.states) if kept.values.is_floating_point()}
    cuts = [cut for cut in (cut_of(call.policy), window) if cut is not None]
    return ScanSample(
        name=name,
        cell=type(call.cell).__name__,
        backward=call.reverse,
        cut=min(cuts, default=None),
        flow=flow,
        decay=decay,
        gates={gate: measure_values(values, gate=True) for gate, values in gates.items()},
        states={part: measure_values(values, gate=False) for part, values in states.items()},
        time_constants=time_constants(gates),
    )


def has_floats(call: Call) -> bool:
    """Whether there is anything in a scan's state that could be differentiated by."""
    return any(leaf.is_floating_point() and leaf.numel() for _, leaf in state_leaves(call.state))


def _guess(call: Call) -> float:
    """Seconds that a scan's dynamics will take, about, before they were ever measured."""
    numbers = sum(leaf[0].numel() for _, leaf in state_leaves(call.state))
    return float(numbers / 400) ** 2


def _sizes(watched: list[tuple[str, Watched]]) -> tuple[int, tuple[int, int, int]]:
    """Rows of the batch, and the shortest, median and longest of them, as the scan with the longest sees them."""
    if not watched:
        return 0, (0, 0, 0)
    lengths = max((one.call.inputs.lengths for _, one in watched), key=lambda found: int(found.sum()))
    return len(lengths), (int(lengths.min()), int(lengths.median()), int(lengths.max()))

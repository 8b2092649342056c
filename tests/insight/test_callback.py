"""`Insight` inside `fit`: what it writes, that training does not notice, and a run that is taken up again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import rondeau
from rondeau import layers
from rondeau.callbacks import BackupAndRestore, Callback, Insight
from rondeau.errors import CheckpointError, NumericsError
from rondeau.insight import read_samples
from rondeau.insight.files import read_lines

X, Y = torch.randn(24, 10, 3), torch.randn(24, 10, 1)


def build(**options: Any) -> rondeau.Sequential:
    torch.manual_seed(5)
    model = rondeau.Sequential([layers.GRU(4, return_sequences=True, dropout=0.1, **options), layers.Dense(1)])
    model.compile("adam", "mse")
    return model


def fit(model: rondeau.Sequential, *callbacks: Callback, epochs: int = 2, **options: Any) -> None:
    torch.manual_seed(6)
    model.fit(X, Y, batch_size=4, epochs=epochs, callbacks=list(callbacks), verbose=0, **options)


def test_a_line_a_sample(tmp_path: Path) -> None:
    insight = Insight(tmp_path / "run", every=5)
    fit(build(), insight)
    assert [(s.step, s.epoch) for s in insight.samples] == [(0, 0), (1, 0), (2, 0), (4, 0), (5, 0), (10, 1)]
    assert read_samples(tmp_path / "run") == insight.samples
    assert all(s.loss is not None and s.rate == pytest.approx(1e-3) for s in insight.samples)
    assert [scan.name for scan in insight.samples[0].scans] == ["gru"]


def test_a_line_an_epoch(tmp_path: Path) -> None:
    fit(build(), Insight(tmp_path), validation_data=(X, Y))
    lines = read_lines(tmp_path / "history.jsonl")
    assert [line["epoch"] for line in lines] == [1, 2]
    assert set(lines[0]) == {"epoch", "loss", "val_loss"}
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["format"], config["task"]) == ("rondeau-run", "fit")
    assert config["settings"]["learning_rate"] == pytest.approx(1e-3)
    assert config["settings"]["epochs"] == 2
    assert config["reproduce"]["seed"] == 6
    assert config["reproduce"]["versions"]["torch"] == torch.__version__
    fit(build(), Insight(tmp_path / "other", history=False))
    assert [file.name for file in (tmp_path / "other").iterdir()] == ["insight.jsonl"]


@pytest.mark.parametrize(("limit", "clipped"), [(1e-6, True), (1e6, False)])
def test_clipping_is_seen(limit: float, clipped: bool) -> None:
    model, insight = build(), Insight()
    model.compile(rondeau.optimizers.Adam(global_clipnorm=limit), "mse")
    fit(model, insight)
    assert {(s.clip, s.clipped) for s in insight.samples} == {(limit, clipped)}
    assert all(s.gradient and s.weights[0].update for s in insight.samples)
    assert insight.samples[0].weights[0].name == "gru.cell.kernel"


def test_fit_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    with_it, without = build(), build()
    fit(with_it, Insight(every=2))
    fit(without)
    for a, b in zip(with_it.parameters(), without.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_window_of_fit_is_where_the_gradient_is_cut() -> None:
    insight = Insight()
    fit(build(), insight, window=4)
    scans = [sample.scans[0] for sample in insight.samples]
    assert {scan.cut for scan in scans} == {4}
    assert max(scan.decay.reach for scan in scans) == 3
    plain = Insight()
    fit(build(), plain)
    assert plain.samples[0].scans[0].cut is None


def test_truncation_inside_the_layer_is_where_it_is_cut() -> None:
    insight = Insight()
    fit(build(gradient=rondeau.Truncated(3)), insight)
    assert insight.samples[0].scans[0].cut == 3


def test_what_is_not_finite_is_traced() -> None:
    model, insight = build(), Insight()
    fit(model, insight, epochs=1)
    with torch.no_grad():
        dict(model.named_parameters())["chain.gru.cell.kernel"][1, 2] = float("nan")
    with pytest.raises(NumericsError, match=r"The weight gru\.cell\.kernel holds nan at \[1, 2\]\."):
        fit(model, insight, epochs=1)
    assert insight.nonfinite is not None
    assert insight.nonfinite.where == "weight"


class StopAt(Callback):
    """Interrupts the loop after a batch, as a signal does."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_train_batch_end(self, batch: int, logs: Any) -> None:
        self.loop.interrupted = self.loop.epoch == 1 and batch == self.batch


@pytest.mark.parametrize("folder", [True, False])
def test_a_run_taken_up_again_has_the_samples_of_one_that_was_not(tmp_path: Path, folder: bool) -> None:
    whole = Insight(every=4)
    fit(build(), whole)
    place = tmp_path / "run" if folder else None
    checkpoint = tmp_path / "checkpoint"
    fit(build(), Insight(place, every=4), StopAt(2), BackupAndRestore(checkpoint))
    if place is not None:  # as a process leaves it that was killed after its last checkpoint
        with (place / "insight.jsonl").open("a") as file:
            line = (place / "insight.jsonl").read_text().splitlines()[-1]
            file.write(json.dumps({**json.loads(line), "step": 11}) + "\n" + line[:40])
    again = Insight(place, every=4)
    fit(build(), again, BackupAndRestore(checkpoint))

    def timeless(samples: Any) -> list[Any]:
        return [(s.step, s.epoch, s.loss, s.scans) for s in samples]

    assert timeless(again.samples) == timeless(whole.samples)
    assert place is None or [line["epoch"] for line in read_lines(place / "history.jsonl")] == [1, 2]
    assert place is None or timeless(read_samples(place)) == timeless(whole.samples)


def test_a_new_run_replaces_an_older_ones_samples(tmp_path: Path) -> None:
    for _ in range(2):
        fit(build(), Insight(tmp_path, every=100), epochs=1)
    assert [s.step for s in read_samples(tmp_path)] == [0, 1, 2, 4]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "insight.jsonl").write_text('{"step": 1}\nhalf a li')
    with pytest.raises(CheckpointError, match="line 1"):
        read_samples(tmp_path)
    (tmp_path / "insight.jsonl").write_text("half a li")
    assert read_samples(tmp_path) == []
    assert read_samples(tmp_path / "nowhere") == []

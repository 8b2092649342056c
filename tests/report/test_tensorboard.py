"""Event files say what the samples say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import rondeau
from rondeau.callbacks import Callback
from rondeau.insight.files import SampleFile
from rondeau.insight.records import to_json
from rondeau.report import TensorBoardInsight, write_tensorboard
from rondeau.report.tensorboard import scalars
from tests.report.figures.test_inspected import found
from tests.report.made import fit_run, samples, write_lines

pytest.importorskip("tensorboard")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def read(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    return events


def values(events: Any, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_a_runs_files_become_event_files(tmp_path: Path) -> None:
    run = fit_run(tmp_path / "run", sampled=3)
    write_tensorboard(run, tmp_path / "log")
    events, made = read(tmp_path / "log"), samples(3, ("simple_rnn",), "SimpleRNN")
    assert values(events, "insight/simple_rnn/memory") == [(s.step, float(s.scans[0].decay.memory or 0)) for s in made]
    for tag, wanted in (
        ("insight/simple_rnn/decay", [s.scans[0].decay.factor for s in made]),
        ("insight/gradient_norm", [s.gradient for s in made]),
        ("insight/simple_rnn/state/h/at_high", [s.scans[0].states["h"].at_high for s in made]),
        ("insight/ratio/layers.0.cell.kernel", [s.weights[0].ratio for s in made]),
    ):
        assert [value for _, value in values(events, tag)] == pytest.approx(wanted, rel=2**-23)
    assert [value for _, value in values(events, "epoch/accuracy")] == pytest.approx([0.5, 0.75, 5 / 6, 0.875])
    images = set(events.Tags()["images"])
    assert {"insight/gradient_flow", "insight/memory", "insight/curves", "insight/simple_rnn/state"} <= images
    image = events.Images("insight/gradient_flow")[0]
    assert (image.step, image.width) == (100, round(5.2 * 120))
    assert image.encoded_image_string.startswith(b"\x89PNG")


def test_what_was_inspected_is_drawn_too(tmp_path: Path) -> None:
    run = fit_run(tmp_path / "run", sampled=1)
    (run / "inspect.json").write_text(json.dumps(found()))
    write_tensorboard(run, tmp_path / "log")
    drawn = {f"insight/{layer}/{kind}" for layer in ("l1", "l2") for kind in ("units", "trajectories")}
    assert {*drawn, "insight/learning_rate"} <= set(read(tmp_path / "log").Tags()["images"])


def test_shares_and_gates_are_of_all_samples_so_far() -> None:
    made = samples(12)
    found = dict(scalars(made))
    assert found["insight/clipped_share"] == sum(bool(s.clipped) for s in made) / 12
    assert found["insight/lstm_1/gate/f/at_high"] == made[-1].scans[1].gates["f"].at_high
    assert found["insight/lstm/time_constant"] == 8.0
    assert dict(scalars(made[:1]))["insight/lstm/lyapunov"] == -0.08


class Sampler(Callback):
    """Writes a sample after every second batch, as the callback that measures does."""

    def __init__(self, folder: Path) -> None:
        self.file, self.left = SampleFile(folder), samples(4, ("lstm",))

    def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
        if batch % 2 == 0:
            self.file.append(self.left.pop(0))


def train(*callbacks: Callback) -> None:
    model = rondeau.Sequential([rondeau.layers.LSTM(2), rondeau.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(torch.zeros(8, 3, 1), torch.zeros(8, 1), batch_size=2, epochs=2, callbacks=list(callbacks), verbose=0)


def test_scalars_come_with_the_samples_and_figures_with_the_epochs(tmp_path: Path) -> None:
    train(Sampler(tmp_path / "run"), TensorBoardInsight(tmp_path / "run", tmp_path / "log"))
    events = read(tmp_path / "log")
    assert [step for step, _ in values(events, "insight/lstm/decay")] == [0, 50, 100, 150]
    assert [image.step for image in events.Images("insight/gradient_flow")] == [50, 150]


def test_a_run_that_measures_nothing_writes_nothing(tmp_path: Path) -> None:
    train(TensorBoardInsight(tmp_path / "run", tmp_path / "log"))
    assert read(tmp_path / "log").Tags()["scalars"] == []


def test_what_was_written_is_not_written_again_after_a_resume(tmp_path: Path) -> None:
    write_lines(tmp_path / "insight.jsonl", [to_json(sample) for sample in samples(2, ("lstm",))])
    callback = TensorBoardInsight(tmp_path, tmp_path / "log")
    callback.on_train_begin({})
    callback.restore({"step": 0})
    callback.on_train_batch_end(0, {})
    assert callback.state() == {"step": 50}
    callback.close()
    assert [step for step, _ in values(read(tmp_path / "log"), "insight/lstm/decay")] == [50]


def test_half_a_line_waits_for_its_other_half_and_a_file_begun_anew_is_read_anew(tmp_path: Path) -> None:
    file, lines = tmp_path / "insight.jsonl", [json.dumps(to_json(s)) + "\n" for s in samples(3, ("lstm",))]
    callback = TensorBoardInsight(tmp_path, tmp_path / "log")
    callback.on_train_begin({})
    file.write_text(lines[0] + lines[1][:100])
    callback.on_train_batch_end(0, {})
    assert (callback.state(), len(callback.samples)) == ({"step": 0}, 1)
    file.write_text(lines[0] + lines[1] + lines[2])
    callback.on_train_batch_end(1, {})
    assert (callback.state(), len(callback.samples)) == ({"step": 100}, 3)
    file.write_text(lines[0])
    callback.on_train_batch_end(2, {})
    assert len(callback.samples) == 1
    callback.close()
    assert [step for step, _ in values(read(tmp_path / "log"), "insight/lstm/decay")] == [0, 50, 100]

"""Tokens per second: what is counted, which seconds, and how it is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rondeau import layers
from rondeau.data.texts.windows import Contexts
from rondeau.models import Sequential
from rondeau.tasks.run_folder import RunFolder
from rondeau.tasks.speed import Speed, describe_speed, read_speed, total_speed
from rondeau.training.callbacks import LambdaCallback
from rondeau.training.losses import SparseCategoricalCrossentropy

IDS = np.arange(41) % 5


def _fit(speed: Speed, epochs: int) -> None:
    model = Sequential([layers.Input((4,), dtype="int64"), layers.Embedding(5, 2), layers.Flatten(), layers.Dense(5)])
    model.compile("sgd", SparseCategoricalCrossentropy(from_logits=True), device="cpu")
    told = LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(speed.last))
    seen: list[float | None] = []
    model.fit(
        Contexts(IDS, 4, 10), epochs=epochs, validation_data=Contexts(IDS, 4, 10), verbose=0, callbacks=[speed, told]
    )
    assert seen == [record["tokens_per_second"] for record in speed.records]


def test_seconds_run_until_the_last_batch_and_leave_validation_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr("rondeau.tasks.speed.time.perf_counter", lambda: float(next(clock)))
    speed = Speed(lambda batches: min(10 * batches, 40))
    _fit(speed, 2)
    # one reading as the epoch begins, one after each of its four batches
    assert [(r["tokens"], r["seconds"], r["tokens_per_second"]) for r in speed.records] == [(40, 4.0, 10.0)] * 2
    assert [(r["epoch"], r["device"], r["threads"]) for r in speed.records] == [(1, "cpu", 1), (2, "cpu", 1)]


def test_a_repeated_epoch_is_recorded_once(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    _fit(Speed(lambda batches: 10 * batches, run), 3)
    _fit(Speed(lambda batches: 10 * batches, run), 2)  # as after a kill: the third was begun, not kept
    assert [record["epoch"] for record in read_speed(run)] == [1, 2]


def test_all_together() -> None:
    cpu, gpu = {"device": "cpu", "threads": 2}, {"device": "cuda:0", "threads": 2}
    records = [{"tokens": 3000, "seconds": 1.0, **cpu}, {"tokens": 1000, "seconds": 3.0, **cpu}]
    speed = total_speed(records)
    assert speed == {"tokens": 4000, "seconds": 4.0, "tokens_per_second": 1000.0, "where": "2 threads"}
    assert describe_speed(speed) == "trained on 4,000 tokens in 4.0 s: 1,000 tokens/s on 2 threads"
    mixed = total_speed([*records, {"tokens": 1, "seconds": 1.0, **gpu}, {"tokens": 1, "seconds": 1.0, **cpu}])
    assert mixed is not None
    assert mixed["where"] == "2 threads, then cuda:0"


def test_nothing_measured_is_nothing_to_say(tmp_path: Path) -> None:
    assert total_speed(read_speed(RunFolder(tmp_path))) is None

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import rondeau
from rondeau import callbacks, layers
from rondeau.errors import ArgumentError
from rondeau.training.interrupt import StopOnInterrupt
from rondeau.training.progress import EpochLines, LiveView, describe_logs, epoch_line, progress_callback

X, Y = np.zeros((6, 2), "float32"), np.zeros((6, 1), "float32")


def model() -> Any:
    made = rondeau.Sequential([layers.Dense(1)])
    made.compile("sgd", "mse", metrics=["mae"])
    return made


def forced(**options: Any) -> tuple[LiveView, io.StringIO]:
    text = io.StringIO()
    return LiveView(console=Console(file=text, force_terminal=True, width=100), **options), text


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_which_view() -> None:
    assert progress_callback(0) == []
    assert isinstance(progress_callback(1)[0], LiveView)
    assert isinstance(progress_callback(2)[0], EpochLines)
    assert isinstance(progress_callback("auto")[0], EpochLines)  # pytest has taken standard output
    for wrong in (3, "yes", None, 1.5):
        with pytest.raises(ArgumentError, match="verbose: expected 'auto', 0, 1 or 2"):
            progress_callback(wrong)


def test_a_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    model().fit(X, Y, epochs=2, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert re.fullmatch(r"epoch 2/2  loss 0\.0000  mae 0\.0000  \d+\.\d s", lines[1])
    model().fit(X, Y, epochs=2, verbose=0)
    assert capsys.readouterr().out == ""


def test_what_is_said() -> None:
    assert describe_logs({"loss": 0.12345, "lr": 1, "note": "text"}) == "loss 0.1235  lr 1.0000"
    assert epoch_line(0, 3, "loss 1.0", 2.53) == "epoch 1/3  loss 1.0  2.5 s"


def test_the_live_view_leaves_a_line_for_each_epoch_and_the_cursor_visible() -> None:
    view, text = forced()
    model().fit(X, Y, batch_size=2, epochs=30, verbose=0, callbacks=view)
    shown = text.getvalue()
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    lines = [line.strip() for line in plain(shown).splitlines() if " s" in line and "loss" in line]
    assert sum(bool(re.match(rf"epoch {n}/30  loss", line)) for n in range(1, 31) for line in lines) == 30


def test_the_live_view_shows_batches_and_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr("rondeau.training.progress.time.monotonic", lambda: float(next(clock)))
    view, text = forced(unit="tokens", per_batch=500)
    peek = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: view.progress.refresh())  # type: ignore[union-attr]
    model().fit(X, Y, batch_size=2, epochs=2, verbose=0, callbacks=[view, peek])
    shown = plain(text.getvalue())
    assert "1/3" in shown
    assert "500 tokens/s  0:05 left" in shown
    assert "loss 0.0000" in shown


def test_the_live_view_without_a_known_number_of_batches() -> None:
    view, text = forced()
    peek = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: view.progress.refresh())  # type: ignore[union-attr]
    model().fit(((X, Y) for _ in range(3)), verbose=0, callbacks=[view, peek])
    assert "1/?" in plain(text.getvalue())


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_error_gives_the_terminal_back(error: type[BaseException]) -> None:
    def fail(batch: int, logs: Any) -> None:
        if batch == 1:
            raise error

    view, text = forced()
    made = model()
    with pytest.raises(error):
        made.fit(X, Y, batch_size=2, verbose=0, callbacks=[view, callbacks.LambdaCallback(on_train_batch_end=fail)])
    assert text.getvalue().rindex("\x1b[?25h") > text.getvalue().rindex("\x1b[?25l")
    assert view.progress is not None
    assert not view.progress.live.is_started
    assert sys.stdout is not view.progress.console.file
    assert not made.training
    made.fit(X, Y, verbose=0, callbacks=view)  # and can be shown again


def test_every_callback_is_closed_even_where_one_fails_to() -> None:
    closed = []

    class Resource(callbacks.Callback):
        def close(self) -> None:
            closed.append(self)
            raise RuntimeError("the file is gone")

    class Failing(callbacks.Callback):
        def on_train_begin(self, logs: Any) -> None:
            raise ValueError("no begin")

    with pytest.raises(RuntimeError, match="the file is gone") as caught:
        model().fit(X, Y, verbose=0, callbacks=[Resource(), Resource(), Failing()])
    assert len(closed) == 2
    context = caught.value.__context__
    while context is not None and not isinstance(context, ValueError):
        context = context.__context__
    assert isinstance(context, ValueError)


def test_a_view_is_closed_where_training_cannot_begin() -> None:
    view, _ = forced()
    with pytest.raises(ValueError, match="rows"):
        model().fit(X, Y[:3], verbose=0, callbacks=view)
    view.close()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_on_a_terminal_the_view_is_live() -> None:
    program = """
import numpy as np, rondeau
from rondeau import layers
model = rondeau.Sequential([layers.Input((2,)), layers.Dense(1)])
model.summary()
model.compile("sgd", "mse")
model.fit(np.zeros((6, 2)), np.zeros((6, 1)), epochs=2)
model.predict(np.zeros((6, 2)), verbose=1)
"""
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "90"}
    child = subprocess.Popen([sys.executable, "-c", program], stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert child.wait() == 0, shown.decode()
    text = shown.decode()
    assert "┃ Layer (type)" in plain(text)  # the summary's frame
    assert "\x1b[?25l" in text  # the live view hides the cursor
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert "epoch 2/2  loss 0.0000" in plain(text)
    assert "predicting" in plain(text)


def test_the_first_signal_ends_the_batch_and_the_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    send = callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: os.kill(os.getpid(), signal.SIGINT))
    stop = StopOnInterrupt()
    history = model().fit(X, Y, batch_size=2, epochs=5, verbose=0, callbacks=[stop, send])
    assert stop.loop.interrupted
    assert (stop.loop.epoch, stop.loop.batch) == (0, 1)
    assert history.epoch == []
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    fail = callbacks.LambdaCallback(on_train_batch_begin=lambda batch, logs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model().fit(X, Y, verbose=0, callbacks=[StopOnInterrupt(), fail])
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before

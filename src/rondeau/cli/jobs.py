"""What each command does: call the task, show what comes of it."""

from __future__ import annotations

import itertools
import sys
import time
import webbrowser
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.table import Table

from rondeau.cli.advice import show_advice
from rondeau.data.text import read_text
from rondeau.errors import NumericsError
from rondeau.models.language_model import generate
from rondeau.report import Watch, write_comparison, write_report, write_tensorboard
from rondeau.tasks import language_model as task
from rondeau.tasks.advice import advice_of, check_run
from rondeau.tasks.inspect import Look, inspect
from rondeau.tasks.language_model import Corpus, Row, Settings
from rondeau.tasks.run_folder import RunFolder
from rondeau.tasks.speed import Speed, describe_speed, read_speed, total_speed
from rondeau.training.callbacks import Callback
from rondeau.training.callbacks.base import Logs
from rondeau.training.progress import EpochLines, LiveView


def train(settings: Settings, out: Path | None, overwrite: bool) -> None:
    """A new run from beginning to end."""
    run, corpus = task.begin(settings, out or free_folder(), overwrite)
    _go_on(run, settings, corpus)


def resume(folder: Path) -> None:
    """The rest of a run that was interrupted."""
    _go_on(*task.reopen(folder))


def free_folder() -> Path:
    """The first of runs/1, runs/2, ... that does not exist."""
    return next(path for path in (Path("runs") / str(n) for n in itertools.count(1)) if not path.exists())


def _go_on(run: RunFolder, settings: Settings, corpus: Corpus) -> None:
    console = Console()
    sizes = ", ".join(f"{len(part):,} {name}" for name, part in zip(corpus.text._fields, corpus.text, strict=True))
    console.print(f"[bold]{corpus.name}[/]: {sizes} characters, {corpus.tokenizer.size} tokens in the vocabulary")
    console.print(f"run folder: {run.path}", highlight=False)
    began = time.monotonic()
    try:
        finished = task.fit(run, settings, corpus, lambda tokens, speed: [view(console, tokens, speed)])
    except NumericsError:
        _say_checkpoint(run, "with other settings, begin anew")
        raise
    except OSError:
        _say_checkpoint(run, f"once there is space: rondeau train --resume {run.path}")
        raise
    if not finished:
        _stopped(console, run)
    console.print("now the baselines, on the same text")
    try:
        rows = task.compare(run, settings, corpus, lambda tokens, speed: [view(console, tokens, speed)])
        sample = task.write_samples(run, settings, corpus)
        if settings.insight:
            check_run(run, corpus.ids[1], settings.device)
            run.write_json(run.inspected, inspect(run, Look()))
        write_report(run.path, run.report)
    except KeyboardInterrupt:
        _stopped(console, run)
    console.print(table(rows))
    console.rule("a sample at temperature 0.8, from the bar on")
    print(sample)
    console.rule()
    if settings.insight:
        show_advice(console, advice_of(run))
    minutes = (time.monotonic() - began) / 60
    say_speed(console, run)
    console.print(f"{minutes:.1f} minutes; report: {run.report}", highlight=False)


def _say_checkpoint(run: RunFolder, what_now: str) -> None:
    place = f"the last good checkpoint is {run.checkpoint}" if run.checkpoint.exists() else "there is no checkpoint yet"
    Console(stderr=True).print(f"{place}; {what_now}", highlight=False, soft_wrap=True)


def _stopped(console: Console, run: RunFolder) -> NoReturn:
    console.print(f"stopped; go on with: rondeau train --resume {run.path}", highlight=False, soft_wrap=True)
    raise SystemExit(130)


def view(console: Console, tokens: int, speed: Speed) -> Callback:
    """The live view on a terminal, a line an epoch elsewhere; a batch holds so many tokens."""

    def line(logs: Logs) -> str:
        return describe(logs, speed.last)

    return LiveView(line, console, "tokens", tokens) if console.is_terminal else EpochLines(line)


def describe(logs: Logs, speed: float | None) -> str:
    """`loss 1.5230  2.197 bits/char  held out 2.301  23,507 tokens/s`; `speed` is known once an epoch is over."""
    parts = [f"loss {logs['loss']:.4f}"]
    if "bits_per_character" in logs:
        parts.append(f"{logs['bits_per_character']:.3f} bits/char")
    if "val_bits_per_character" in logs:
        parts.append(f"held out {logs['val_bits_per_character']:.3f}")
    elif "val_loss" in logs:
        parts.append(f"held out {logs['val_loss']:.4f}")
    if speed is not None:
        parts.append(f"{speed:,.0f} tokens/s")
    return "  ".join(parts)


def table(rows: list[Row]) -> Table:
    """The results, the best one bold."""
    shown = Table(title="held-out text", title_justify="left")
    shown.add_column("model")
    shown.add_column("parameters", justify="right")
    shown.add_column("bits per character", justify="right")
    best = min(row.bits_per_character for row in rows)
    for row in rows:
        style = "bold" if row.bits_per_character == best else ""
        shown.add_row(row.name, f"{row.parameters:,}", f"{row.bits_per_character:.3f}", style=style)
    return shown


def say_speed(console: Console, run: RunFolder) -> None:
    """How fast the recurrent model trained, where that was measured."""
    speed = total_speed(read_speed(run))
    if speed is not None:
        console.print(describe_speed(speed), highlight=False)


def write_text(
    folder: Path,
    prompt: str,
    length: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    seed: int | None,
) -> None:
    """Print the prompt and what the model makes of it, as it comes."""
    run = RunFolder.open(folder)
    tokenizer, model = run.tokenizer(), run.load_model()
    ids = task.prompt_ids(tokenizer, prompt)
    forbidden = [] if tokenizer.unknown is None else [tokenizer.unknown]
    decoder = tokenizer.decode_stream()
    sys.stdout.write(prompt)
    for token in generate(model, ids, length, temperature, top_k, top_p, seed, forbidden):
        sys.stdout.write(decoder.push(token))
        sys.stdout.flush()
    sys.stdout.write(decoder.flush() + "\n")


def evaluate(folder: Path, path: str, device: str) -> None:
    """Print a model's bits per character on a text."""
    run = RunFolder.open(folder)
    tokenizer, model = run.tokenizer(), run.load_model()
    text = task.join(read_text(path))
    ids = tokenizer.encode(text)
    bits = task.evaluate_ids(model, ids, device)
    unknown = 0 if tokenizer.unknown is None else int((ids == tokenizer.unknown).sum())
    characters = len(text) * (len(ids) - 1) / len(ids)
    print(f"{bits / characters:.4f} bits per character on {len(text):,} characters of {path}")
    if unknown:
        print(f"{unknown:,} characters are not in the run's vocabulary; each counts as the unknown character")


def summarize(folder: Path) -> None:
    """Print the model's summary, and the results if the run has come to its end."""
    run = RunFolder.open(folder)
    config = run.read_json(run.config)
    print(f"trained on {config['data']['name']}")
    run.load_model().summary()
    if not run.results.exists():
        print(f"the run has not come to its end; go on with: rondeau train --resume {folder}")
        return
    rows = run.read_json(run.results)["rows"]
    console = Console()
    console.print(table([Row(**row) for row in rows]))
    say_speed(console, run)


def report(folder: Path, out: Path | None, tensorboard: Path | None) -> None:
    """Write a run's report, and the same for TensorBoard if asked for."""
    print(write_report(folder, out))
    if tensorboard is not None:
        write_tensorboard(folder, tensorboard)
        print(f"tensorboard --logdir {tensorboard}")


def compare(folders: list[Path], out: Path) -> None:
    """Write several runs side by side."""
    print(write_comparison(folders, out))


def watch(folder: Path, port: int, show: bool) -> None:
    """Serve a run's live page until Ctrl-C."""
    live = Watch(folder, port)
    print(f"{live.address}  (Ctrl-C ends it)", flush=True)
    if show:
        webbrowser.open(live.address)
    try:
        live.serve()
    except KeyboardInterrupt:
        print()

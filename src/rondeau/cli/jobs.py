"""What each command does: call the task, show what comes of it."""

from __future__ import annotations

import sys
import time
import webbrowser
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rondeau.cli.advice import show_advice
from rondeau.cli.options import Asked
from rondeau.cli.records import write_records
from rondeau.errors import NumericsError
from rondeau.insight.results import Metric, Results, Row, results_from_json
from rondeau.report import Watch, write_comparison, write_report, write_tensorboard
from rondeau.tasks import TASKS, get_task
from rondeau.tasks.advice import advice_of
from rondeau.tasks.api import free_folder
from rondeau.tasks.run_folder import RunFolder
from rondeau.tasks.speed import Speed, describe_speed, read_speed, total_speed
from rondeau.tasks.task import Task, Work
from rondeau.training.callbacks import Callback
from rondeau.training.callbacks.base import Logs
from rondeau.training.progress import EpochLines, LiveView


def train(asked: Asked) -> None:
    """A new run from beginning to end, or the rest of one that was interrupted."""
    if asked.resume is not None:
        resume(asked.resume)
        return
    console = Console()
    if asked.why is not None:
        console.print(f"task: {asked.task.name}, since {asked.why} (--task says otherwise)", highlight=False)
    begin(asked.task, asked.settings, asked.out, asked.overwrite)


def begin(task: Task[Any], settings: Any, out: Path | None, overwrite: bool) -> None:
    """A new run."""
    work = task.begin(settings, out or free_folder(), overwrite)
    work.run.hold()
    try:
        _go_on(task, work)
    finally:
        work.run.release()


def resume(folder: Path) -> None:
    """The rest of a run that was interrupted."""
    run = RunFolder.open(folder)
    task = get_task(run.task)
    run.hold()
    try:
        _go_on(task, task.reopen(run))
    finally:
        run.release()


def _go_on(task: Task[Any], work: Work[Any]) -> None:
    console, run = Console(), work.run
    for line in task.describe(work):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"run folder: {run.path}", highlight=False)
    began = time.monotonic()

    def seen(steps: int, speed: Speed) -> list[Callback]:
        return [view(console, steps, speed, task.steps)]

    try:
        finished = task.fit(work, seen)
    except NumericsError:
        _say_checkpoint(run, "with other settings, begin anew")
        raise
    except OSError:
        _say_checkpoint(run, f"once there is space: rondeau train --resume {run.path}")
        raise
    if not finished:
        _stopped(console, run)
    console.print("now the baselines, on the same data")
    try:
        results = task.conclude(work, seen)
        write_report(run.path, run.report)
    except KeyboardInterrupt:
        _stopped(console, run)
    show_table(console, table(results))
    for note in results.notes:
        console.print(note, highlight=False)
    sample = task.sample(work)
    if sample is not None:
        console.rule(sample[0])
        print(sample[1])
        console.rule()
    if work.settings.insight:
        show_advice(console, advice_of(run))
    minutes = (time.monotonic() - began) / 60
    say_speed(console, run, task.steps)
    console.print(f"{minutes:.1f} minutes; report: {run.report}", highlight=False)


def _say_checkpoint(run: RunFolder, what_now: str) -> None:
    place = f"the last good checkpoint is {run.checkpoint}" if run.checkpoint.exists() else "there is no checkpoint yet"
    Console(stderr=True).print(f"{place}; {what_now}", highlight=False, soft_wrap=True)


def _stopped(console: Console, run: RunFolder) -> NoReturn:
    console.print(f"stopped; go on with: rondeau train --resume {run.path}", highlight=False, soft_wrap=True)
    raise SystemExit(130)


def view(console: Console, steps: int, speed: Speed, word: str) -> Callback:
    """The live view on a terminal, a line an epoch elsewhere; a batch holds so many steps."""

    def line(logs: Logs) -> str:
        return describe(logs, speed.last, word)

    return LiveView(line, console, word, steps) if console.is_terminal else EpochLines(line)


def describe(logs: Logs, speed: float | None, word: str) -> str:
    """`loss 1.5230  2.197 bits/char  held out 2.301  23,507 tokens/s`; `speed` is known once an epoch is over."""
    parts = [f"loss {logs['loss']:.4f}"]
    if "bits_per_character" in logs:
        parts.append(f"{logs['bits_per_character']:.3f} bits/char")
    if "val_bits_per_character" in logs:
        parts.append(f"held out {logs['val_bits_per_character']:.3f}")
    elif "val_loss" in logs:
        parts.append(f"held out {logs['val_loss']:.4f}")
    for name, value in logs.items():
        if name not in ("loss", "bits_per_character") and not name.startswith("val_") and f"val_{name}" in logs:
            parts.append(f"{name.replace('_', ' ')} {value:.4f}, held out {logs[f'val_{name}']:.4f}")
    if speed is not None:
        parts.append(f"{speed:,.0f} {word}/s")
    return "  ".join(parts)


def table(results: Results) -> Table:
    """The results, the best one bold."""
    shown = Table(title=results.where, title_justify="left")
    metrics = [metric for metric in results.metrics if any(metric.name in row.scores for row in results.rows)]
    shown.add_column("model")
    shown.add_column("parameters", justify="right")
    for metric in metrics:
        shown.add_column(metric.word, justify="right", overflow="fold")
    known = [row for row in results.rows if results.metric.name in row.scores]
    pick = max if results.metric.higher else min
    best = pick(known, key=lambda row: row.scores[results.metric.name]) if known else None
    for row in results.rows:
        cells = [_cell(metric, row) for metric in metrics]
        count = "–" if row.parameters is None else f"{row.parameters:,}"
        shown.add_row(row.name, count, *cells, style="bold" if row is best else "")
    if any(row.intervals for row in results.rows):
        shown.caption = "below a figure: its 95 % interval over test examples drawn anew (bootstrap)"
        shown.caption_justify = "left"
    return shown


def show_table(console: Console, shown: Table) -> None:
    """Print a table: on a terminal as wide as that is, in a file as wide as it needs to be."""
    if console.is_terminal:
        console.print(shown)
        return
    needed = console.measure(shown, options=console.options.update(width=1000)).maximum
    Console(width=max(console.width, needed)).print(shown)


def _cell(metric: Metric, row: Row) -> str:
    """A value, and below it its interval."""
    value, ends = metric.show(row.scores.get(metric.name)), row.intervals.get(metric.name)
    if ends is None:
        return value
    low, high = (metric.show(end).removesuffix(" %") for end in ends)
    return f"{value}\n[not bold dim]{low}–{high}[/]"


def say_speed(console: Console, run: RunFolder, word: str) -> None:
    """How fast the recurrent model trained, where that was measured."""
    speed = total_speed(read_speed(run))
    if speed is not None:
        console.print(describe_speed(speed, word), highlight=False)


def write_text(
    folder: Path,
    prompt: str,
    length: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    seed: int | None,
    out: Path | None = None,
) -> None:
    """Print the prompt and what the model makes of it, as it comes; or keep it in a file."""
    run = RunFolder.open(folder)
    task = get_task(run.task)
    pieces = task.write(run, prompt, length, temperature, top_k, top_p, seed)
    if out is not None:
        task.save_written(run, pieces, out)
        return
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")


def evaluate(folder: Path, path: str, device: str) -> None:
    """Print a model's figures on other data."""
    run = RunFolder.open(folder)
    results = get_task(run.task).evaluate(run, path, device)
    console = Console()
    console.print(f"{results.where}:", highlight=False, soft_wrap=True)
    for metric in results.metrics:
        if metric.name in results.own.scores:
            shown = metric.show_with(results.own.scores[metric.name], results.own.intervals.get(metric.name))
            console.print(f"  {metric.word}: {shown}", highlight=False)
    for note in results.notes:
        console.print(note, highlight=False)


def predict(folder: Path, path: str, out: Path | None, device: str, options: dict[str, Any]) -> None:
    """Write a record for each input: JSON lines, or CSV where `out` ends in .csv."""
    run = RunFolder.open(folder)
    records = get_task(run.task).predict(run, path, device, options)
    count = write_records(records, out)
    if out is not None:
        print(f"{count:,} predictions: {out}")


def live(folder: Path, rate: int) -> None:
    """Print what is said in the PCM on standard input, as it comes; at the end how long that took, on stderr."""
    from rondeau.tasks.recognition.live import Live, listen

    hearing = Live(RunFolder.open(folder), rate)
    try:
        for text in listen(hearing, sys.stdin.buffer):
            sys.stdout.write(text)
            sys.stdout.flush()
    except KeyboardInterrupt:  # how a microphone is put down
        sys.stdout.write(hearing.finish().text if hearing.whole else "")
    print()
    if hearing.pieces:
        print(hearing.describe(), file=sys.stderr)


def summarize(folder: Path) -> None:
    """Print the model's summary, and the results if the run has come to its end."""
    run = RunFolder.open(folder)
    config = run.read_json(run.config)
    print(f"trained on {config['data']['name']}")
    run.load_model().summary()
    if not run.results.exists():
        print(f"the run has not come to its end; go on with: rondeau train --resume {folder}")
        return
    console = Console()
    show_table(console, table(results_from_json(run.read_json(run.results), run.results)))
    say_speed(console, run, get_task(run.task).steps)


def demos() -> None:
    """Print what `rondeau demo` can show."""
    shown = Table(title="rondeau demo TASK", title_justify="left")
    for name in ("task", "what it learns", "needs"):
        shown.add_column(name)
    for name in TASKS:
        task = get_task(name)
        extra = "–" if task.extra is None else f"pip install 'rondeau[{task.extra}]'"
        shown.add_row(Text(name), Text(task.demo or task.title), Text(extra))
    show_table(Console(), shown)


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

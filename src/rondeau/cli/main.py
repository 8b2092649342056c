"""Commands and their options; the work is done by `tasks` and `report`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

from rondeau.cli import inspect as inspected
from rondeau.cli import jobs
from rondeau.cli import options as options_of
from rondeau.errors import RondeauError
from rondeau.tasks import get_task
from rondeau.tasks.look import Look

app = typer.Typer(help="Recurrent neural networks from the command line.", no_args_is_help=True, add_completion=False)

Out = Annotated[Path | None, typer.Option(help="Folder of the run. Default: a new one under runs/.")]
Run = Annotated[Path, typer.Argument(help="Folder of a run, as `rondeau train` wrote it.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what is read and why.")] = False,
) -> None:
    """Options of every command."""
    level = logging.INFO if verbose else logging.WARNING
    handler = RichHandler(console=Console(stderr=True), show_time=False, show_path=False)
    logging.basicConfig(level=level, format="%(message)s", handlers=[handler], force=True)


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    options_metavar="[OPTIONS] [PATH]",
)
def train(context: typer.Context) -> None:
    """Train a model on a file or folder, beside baselines that know less: text, tables, series, translations, events.

    rondeau train --help says all of it.
    """
    if "--help" in context.args:
        print(options_of.help_of(context.args))
        return
    jobs.train(options_of.read(context.args))


@app.command()
def demo(
    task: Annotated[str, typer.Argument(help="What to learn; see --list.")] = options_of.DEFAULT_TASK,
    out: Out = None,
    show: Annotated[bool, typer.Option("--list", help="Show the tasks.")] = False,
) -> None:
    """Train on data that the package makes itself, in a few minutes: of the task named, or a language model."""
    if show:
        jobs.demos()
        return
    chosen = get_task(task)
    jobs.begin(chosen, chosen.demo_settings(), out, overwrite=False)


@app.command()
def generate(
    run: Run,
    prompt: Annotated[str, typer.Option(help="Text to go on from; of music a file.")] = "\n",
    length: Annotated[int, typer.Option(help="Tokens to draw.")] = 400,
    temperature: Annotated[
        float, typer.Option(help="Below 1 more careful, above 1 wilder, 0 always the likeliest.")
    ] = 0.8,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k likeliest only.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the likeliest that reach this probability.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same text.")] = None,
    out: Annotated[Path | None, typer.Option(help="A file to write to; music to .mid. Default: printed.")] = None,
) -> None:
    """Write with a run's model, each character as it is drawn: text, letters of DNA, steps of music."""
    jobs.write_text(run, prompt, length, temperature, top_k, top_p, seed, out)


@app.command()
def evaluate(
    run: Run,
    path: Annotated[str, typer.Argument(help="Data with answers, in the form the run learnt from.")],
    device: Device = "auto",
) -> None:
    """Measure a run's model on other data."""
    jobs.evaluate(run, path, device)


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    options_metavar="[OPTIONS] RUN [PATH]",
)
def predict(context: typer.Context) -> None:
    """Answer for each input: a record a line.

    rondeau predict RUN --help says all of it.
    """
    if "--help" in context.args:
        print(options_of.help_of_predict(context.args))
        return
    jobs.predict(*options_of.read_predict(context.args))


@app.command()
def live(
    run: Run,
    rate: Annotated[int, typer.Option(help="Samples a second of what is piped in.")] = 16000,
) -> None:
    """Hear speech as it is spoken: raw 16-bit little-endian mono PCM on standard input, words on standard output.

    arecord -f S16_LE -c 1 -r 16000 -t raw | rondeau live RUN --rate 16000
    """
    jobs.live(run, rate)


@app.command()
def summary(run: Run) -> None:
    """Show a run's model and its results."""
    jobs.summarize(run)


@app.command()
def inspect(
    run: Run,
    file: Annotated[
        str | None, typer.Option("--input", help="A UTF-8 text file or folder. Default: the run's held-out text.")
    ] = None,
    position: Annotated[
        int | None,
        typer.Option(help="The token whose prediction is explained, from 0. Default: one early, and the worst errors."),
    ] = None,
    method: Annotated[
        str, typer.Option(help="integrated_gradients, gradient_x_input or occlusion.")
    ] = "integrated_gradients",
    learning_rate: Annotated[
        bool, typer.Option("--learning-rate", help="Try rising learning rates too, from the run's beginning.")
    ] = False,
) -> None:
    """Look into a run's model: what surprises it, which characters an answer rests on, what its state holds."""
    inspected.inspect(run, Look(file, position, method, learning_rate))


@app.command()
def report(
    run: Run,
    out: Annotated[Path | None, typer.Option(help="The HTML file. Default: report.html in the run's folder.")] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Write the same scalars and figures for TensorBoard into this folder too.")
    ] = None,
) -> None:
    """Write a run's report: one HTML file that needs nothing else."""
    jobs.report(run, out, tensorboard)


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of two runs or more.")],
    out: Annotated[Path, typer.Option(help="The HTML file.")] = Path("compare.html"),
) -> None:
    """Put several runs side by side on one HTML page."""
    jobs.compare(runs, out)


@app.command()
def watch(
    run: Annotated[Path, typer.Argument(help="Folder of a run; it need not exist yet.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="To listen on; 0 takes a free one.")] = 0,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in your browser.")] = True,
) -> None:
    """Show a live page of a run while it trains, to this machine alone; Ctrl-C ends it."""
    jobs.watch(run, port, show)


def main() -> None:
    """Run the command line; a mistake of the user's or a full disk ends in one clear message, not a traceback."""
    try:
        app(standalone_mode=True)
    except (RondeauError, OSError) as error:
        Console(stderr=True).print(f"[bold red]error:[/] {type(error).__name__}:", end=" ")
        print(error, file=sys.stderr)
        sys.exit(1)

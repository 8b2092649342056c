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
from rondeau.errors import ArgumentError, RondeauError
from rondeau.tasks.inspect import Look
from rondeau.tasks.language_model import Settings

app = typer.Typer(help="Recurrent neural networks from the command line.", no_args_is_help=True, add_completion=False)
DEFAULT = Settings()

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


@app.command()
def train(
    context: typer.Context,
    path: Annotated[
        str | None, typer.Argument(help="A UTF-8 text file or folder. Default: the documentation in your Python.")
    ] = None,
    tokens: Annotated[str, typer.Option(help="characters, or bpe (needs the extra `text`).")] = DEFAULT.tokens,
    vocabulary: Annotated[int, typer.Option(help="Pieces to learn with --tokens bpe.")] = DEFAULT.vocabulary,
    cell: Annotated[str, typer.Option(help="lstm, gru or simple_rnn.")] = DEFAULT.cell,
    units: Annotated[int, typer.Option(help="Units of a recurrent layer.")] = DEFAULT.units,
    layers: Annotated[int, typer.Option(help="Recurrent layers.")] = DEFAULT.layers,
    embedding: Annotated[int, typer.Option(help="Features of a token.")] = DEFAULT.embedding,
    dropout: Annotated[
        float, typer.Option(help="Rate before, between and after the recurrent layers.")
    ] = DEFAULT.dropout,
    window: Annotated[int, typer.Option(help="Steps of backpropagation through time.")] = DEFAULT.window,
    batch_size: Annotated[int, typer.Option(help="Parts of the text read side by side.")] = DEFAULT.batch_size,
    epochs: Annotated[int, typer.Option(help="Times the whole text is read.")] = DEFAULT.epochs,
    learning_rate: Annotated[float, typer.Option(help="Of Adam, at the start.")] = DEFAULT.learning_rate,
    clipnorm: Annotated[float, typer.Option(help="Longest gradient, all weights together.")] = DEFAULT.clipnorm,
    seed: Annotated[int, typer.Option(help="Same seed, same machine, same result.")] = DEFAULT.seed,
    device: Device = DEFAULT.device,
    checkpoint_seconds: Annotated[float, typer.Option(help="A checkpoint at least this often.")] = (
        DEFAULT.checkpoint_seconds
    ),
    insight: Annotated[
        bool, typer.Option(help="Sample gradients, gates and states; give advice, and draw them in the report.")
    ] = DEFAULT.insight,
    out: Out = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in the folder of --out.")] = False,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the run in this folder; takes no other option.")
    ] = None,
) -> None:
    """Train a language model on a text and compare it with baselines that know less."""
    if resume is not None:
        given = [name for name in context.params if name != "resume" and _was_given(context, name)]
        if given:
            fix = "The run goes on with the settings it began with; leave the others out"
            raise ArgumentError("--resume takes no other option", got=", ".join(given), fix=fix)
        jobs.resume(resume)
        return
    settings = Settings(
        path=path,
        tokens=tokens,
        vocabulary=vocabulary,
        cell=cell,
        units=units,
        layers=layers,
        embedding=embedding,
        dropout=dropout,
        window=window,
        batch_size=batch_size,
        epochs=epochs,
        learning_rate=learning_rate,
        clipnorm=clipnorm,
        seed=seed,
        device=device,
        checkpoint_seconds=checkpoint_seconds,
        insight=insight,
    )
    jobs.train(settings, out, overwrite)


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


@app.command()
def demo(out: Out = None) -> None:
    """Train on the documentation that every Python carries: `rondeau train` without a path, in a few minutes."""
    jobs.train(DEFAULT, out, overwrite=False)


@app.command()
def generate(
    run: Run,
    prompt: Annotated[str, typer.Option(help="Text to go on from.")] = "\n",
    length: Annotated[int, typer.Option(help="Tokens to draw.")] = 400,
    temperature: Annotated[
        float, typer.Option(help="Below 1 more careful, above 1 wilder, 0 always the likeliest.")
    ] = 0.8,
    top_k: Annotated[int | None, typer.Option(help="Draw from the k likeliest only.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Draw from the likeliest that reach this probability.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same text.")] = None,
) -> None:
    """Write text with a run's model, each character as it is drawn."""
    jobs.write_text(run, prompt, length, temperature, top_k, top_p, seed)


@app.command()
def evaluate(
    run: Run,
    path: Annotated[str, typer.Argument(help="A UTF-8 text file or folder.")],
    device: Device = "auto",
) -> None:
    """Measure how well a run's model predicts a text, in bits per character."""
    jobs.evaluate(run, path, device)


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

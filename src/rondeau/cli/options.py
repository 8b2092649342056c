"""The options of `rondeau train` and `predict`: those of every task, and those of the one at hand."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import click

from rondeau.errors import ArgumentError
from rondeau.tasks import TASKS, get_task, guess_task
from rondeau.tasks.run_folder import RunFolder
from rondeau.tasks.task import Task

DEFAULT_TASK = "language_model"  # of `rondeau train` without a path, and of data that do not say otherwise


class Asked(typing.NamedTuple):
    """What the command line says."""

    task: Task[Any]
    why: str | None
    settings: Any
    out: Path | None
    overwrite: bool
    resume: Path | None


def read(arguments: Sequence[str]) -> Asked:
    """Arguments of `rondeau train` as settings of a task, which is guessed where it is not named.

    Raises `ArgumentError` and click's errors for what cannot be.
    """
    rough = _parse(command_of(None), arguments)
    task, why = _task_of(rough)
    command = command_of(task)
    context = _context(command, arguments)
    given = {name: value for name, value in context.params.items() if _was_given(context, name)}
    if given.get("resume") is not None:
        others = [name for name in given if name != "resume"]
        if others:
            fix = "The run goes on with the settings it began with; leave the others out"
            raise ArgumentError("--resume takes no other option", got=", ".join(others), fix=fix)
    names = {one.name for one in fields(task.settings)}
    settings = task.settings(**{name: value for name, value in given.items() if name in names})
    out, resume = given.get("out"), given.get("resume")
    return Asked(task, why, settings, out, bool(given.get("overwrite")), resume)


def help_of(arguments: Sequence[str]) -> str:
    """The help of `rondeau train`, of a task where one is named."""
    rough = _parse(command_of(None), [word for word in arguments if word != "--help"])
    task = None if rough.get("task") is None else get_task(rough["task"])
    command = command_of(task or get_task(DEFAULT_TASK))
    text = command.get_help(click.Context(command, info_name="rondeau train", max_content_width=110))
    if task is None:
        others = ", ".join(TASKS)
        text += f"\n\nThese are the options of {DEFAULT_TASK}. For another task's: rondeau train --task TASK --help\n"
        text += f"Tasks: {others}"
    return text


class AskedToPredict(typing.NamedTuple):
    """What the command line of `rondeau predict` says."""

    run: Path
    path: str
    out: Path | None
    device: str
    options: dict[str, Any]


def read_predict(arguments: Sequence[str]) -> AskedToPredict:
    """Arguments of `rondeau predict`; what can be asked is the matter of the run's task.

    Raises `CheckpointError` for a folder that is no run, and click's errors for what cannot be.
    """
    rough = _parse(predict_command(None), arguments)
    task = get_task(RunFolder.open(rough["run"]).task)
    given = _parse(predict_command(task), arguments)
    options = {one.name: given[one.name] for one in fields(task.asking) if given[one.name] is not None}
    return AskedToPredict(given["run"], given["path"], given["out"], given["device"], options)


def help_of_predict(arguments: Sequence[str]) -> str:
    """The help of `rondeau predict`, with the options of a run's task where the run is named."""
    words = [word for word in arguments if word != "--help"]
    task = get_task(RunFolder.open(_parse(predict_command(None), words)["run"]).task) if words else None
    command = predict_command(task, strict=True)
    text = command.get_help(click.Context(command, info_name="rondeau predict", max_content_width=110))
    return text if task is not None else f"{text}\n\nSome tasks have options of their own: rondeau predict RUN --help"


def predict_command(task: Task[Any] | None, strict: bool = False) -> click.Command:
    """The command with what a task can be asked; without one, with that of all tasks unless `strict`."""
    options: list[click.Parameter] = [
        click.Argument(["run"], type=click.Path(path_type=Path)),
        click.Argument(["path"], required=False, default="-"),
        click.Option(
            ["--out"],
            type=click.Path(path_type=Path),
            help="Where to write: .jsonl, or .csv. Default: JSON lines to standard output.",
        ),
        click.Option(["--device"], default="auto", show_default=True, help="auto, cpu or cuda."),
    ]
    several = [task] if task is not None else [] if strict else [get_task(name) for name in TASKS]
    options += _options_of([one.asking for one in several], strict=task is not None)
    text = "Answer for each input, of a file or folder or of standard input: a record a line."
    return click.Command("rondeau predict", params=options, help=text)


def _task_of(rough: dict[str, Any]) -> tuple[Task[Any], str | None]:
    if rough.get("task") is not None:
        return get_task(rough["task"]), None
    if rough.get("path") is None or rough.get("resume") is not None:
        return get_task(DEFAULT_TASK), None
    return guess_task(Path(rough["path"]))


def command_of(task: Task[Any] | None) -> click.Command:
    """The command with a task's options; without one, with those of all tasks, to find the path among them."""
    options: list[click.Parameter] = [
        click.Argument(["path"], required=False),
        click.Option(["--task"], help=f"One of: {', '.join(TASKS)}. Default: what the data look like."),
        click.Option(
            ["--out"], type=click.Path(path_type=Path), help="Folder of the run. Default: a new one in runs/."
        ),
        click.Option(["--overwrite"], is_flag=True, help="Replace the run in the folder of --out."),
        click.Option(
            ["--resume"],
            type=click.Path(path_type=Path),
            help="Go on with the run in this folder; takes no other option.",
        ),
    ]
    several = [task] if task is not None else [get_task(name) for name in TASKS]
    options += _options_of([one.settings for one in several], strict=task is not None)
    text = f"Train a model: {task.title}." if task is not None else "Train a model."
    return click.Command("rondeau train", params=options, help=text)


def _options_of(kinds: Sequence[Any], strict: bool) -> list[click.Parameter]:
    """The fields of dataclasses as options, each name once."""
    found: dict[str, click.Parameter] = {}
    for kind in kinds:
        hints = typing.get_type_hints(kind)
        for setting in fields(kind):
            if setting.name != "path" and setting.name not in found:
                found[setting.name] = _option(setting, hints[setting.name], strict)
    return list(found.values())


def _option(setting: Field[Any], kind: Any, strict: bool) -> click.Option:
    word = "--" + setting.name.replace("_", "-")
    text, choices = setting.metadata.get("help", ""), setting.metadata.get("choices")
    if choices:
        text += f" One of: {', '.join(choices)}."
    several = [part for part in typing.get_args(kind) if part is not type(None)]
    if typing.get_origin(kind) in (types.UnionType, typing.Union) and several:
        kind = several[0]
    if kind is bool:
        return click.Option([f"{word}/--no-{word[2:]}"], default=setting.default, help=text, show_default=True)
    show = setting.default is not None and setting.default != ()
    if typing.get_origin(kind) is tuple:
        default = ",".join(map(str, typing.cast("tuple[Any, ...]", setting.default)))
        return click.Option([word], type=_Several(), default=default, help=text, show_default=show)
    return click.Option([word], type=kind if strict else str, default=setting.default, help=text, show_default=show)


class _Several(click.ParamType):  # type: ignore[type-arg]
    """Words with commas between."""

    name = "a,b,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        return tuple(word.strip() for word in str(value).split(",") if word.strip())


def _context(command: click.Command, arguments: Sequence[str]) -> click.Context:
    return command.make_context(command.name, list(arguments))


def _parse(command: click.Command, arguments: Sequence[str]) -> dict[str, Any]:
    return dict(_context(command, arguments).params)


def _was_given(context: click.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"

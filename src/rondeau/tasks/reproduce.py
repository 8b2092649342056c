"""What is needed to repeat a run: the exact command, and the versions it ran with."""

from __future__ import annotations

import shlex
from dataclasses import fields
from typing import Any

from rondeau.training.provenance import versions


def reproduce(settings: Any, task: str) -> dict[str, Any]:
    """`command`, every option spelt out, and `versions`, for a run's `config.json`; `settings` is a dataclass."""
    return {"command": command(settings, task), "versions": versions()}


def command(settings: Any, task: str) -> str:
    """`rondeau train text.txt --task language_model --units 32 ...`: no later default changes what it does.

    A setting is an option of its name, except `path`, which stands first; None is left out, and what is off is said
    with `--no-`.
    """
    words = ["rondeau", "train"]
    if settings.path is not None:
        words.append(str(settings.path))
    words += ["--task", task]
    for setting in fields(settings):
        value = getattr(settings, setting.name)
        option = "--" + setting.name.replace("_", "-")
        if setting.name == "path" or value is None or value == ():
            continue
        if isinstance(value, bool):
            words.append(option if value else "--no-" + option.removeprefix("--"))
        elif isinstance(value, tuple):
            words += [option, ",".join(map(str, value))]
        else:
            words += [option, str(value)]
    return shlex.join(words)

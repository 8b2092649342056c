"""What is needed to repeat a run: the exact command, and the versions it ran with."""

from __future__ import annotations

import shlex
from dataclasses import fields
from typing import Any

from rondeau.training.provenance import versions


def reproduce(settings: Any) -> dict[str, Any]:
    """`command`, every option spelt out, and `versions`, for a run's `config.json`; `settings` is a dataclass."""
    return {"command": command(settings), "versions": versions()}


def command(settings: Any) -> str:
    """`rondeau train text.txt --units 32 ...`: says each setting, so that no later default changes it.

    A setting is an option of its name, except `path`, which stands first; None is left out, and what is off is said
    with `--no-`.
    """
    words = ["rondeau", "train"]
    if settings.path is not None:
        words.append(str(settings.path))
    for setting in fields(settings):
        value = getattr(settings, setting.name)
        option = "--" + setting.name.replace("_", "-")
        if setting.name == "path" or value is None:
            continue
        if isinstance(value, bool):
            words.append(option if value else "--no-" + option.removeprefix("--"))
        else:
            words += [option, str(value)]
    return shlex.join(words)

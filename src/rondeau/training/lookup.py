"""Names of things a user may choose by a string, and what to say when there is none by that name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from rondeau.errors import ArgumentError


def snake_case(name: str) -> str:
    """`SparseTopKCategoricalAccuracy` as `sparse_top_k_categorical_accuracy`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def unknown(kind: str, name: str, known: Iterable[str]) -> ArgumentError:
    """The error for a `kind` ("loss", "metric") of which there is none called `name`; suggests the nearest name."""
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=1) or difflib.get_close_matches(snake_case(name), names, n=1)
    return ArgumentError(
        f"there is no {kind} called {name!r}",
        expected="one of " + ", ".join(name for name in names if name.islower()),  # the others are these in capitals
        fix=f"Did you mean {near[0]!r}?" if near else f"Give one of these names, or a {kind} of your own as an object",
    )

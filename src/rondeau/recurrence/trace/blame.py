"""Which line of the user's is to blame."""

from __future__ import annotations

import linecache
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from types import FrameType

# Frames of these packages only carry out what a line further up asked for.
_CARRIERS = {"torch", "jaxtyping", "beartype"}
_OWN = "rondeau.recurrence"
_INSTALLED = tuple({sysconfig.get_path(n) for n in ("stdlib", "platstdlib", "purelib", "platlib")})


def user_line() -> str | None:
    """File, line and text of the innermost frame that is the user's; if there is none, that of a package they use."""
    return as_text(user_place())


def as_text(place: tuple[str, int] | None) -> str | None:
    """File and line, with what stands there."""
    if place is None:
        return None
    path, number = place
    text = linecache.getline(path, number).strip()
    return f"{path}, line {number}" + (f": {text}" if text else "")


def user_place() -> tuple[str, int] | None:
    """As `user_line`: file and line."""
    return _to_blame((frame, frame.f_lineno) for frame in _frames())


def _frames() -> Iterator[FrameType]:
    """From the innermost outwards, up to where tracing began."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") != f"{_OWN}.trace.step":
        yield frame
        frame = frame.f_back


def _to_blame(frames: Iterable[tuple[FrameType, int]]) -> tuple[str, int] | None:
    installed = None
    for frame, number in frames:
        module, path = frame.f_globals.get("__name__") or "", frame.f_code.co_filename
        carried = module.partition(".")[0] in _CARRIERS or module == _OWN or module.startswith(_OWN + ".")
        if carried or path.startswith(("<@beartype", "<frozen")):
            continue
        if not path.startswith(_INSTALLED):
            return path, number
        installed = installed or (path, number)
    return installed

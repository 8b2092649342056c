"""What is shown of work on data that takes above two seconds: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from types import TracebackType
from typing import Any, TextIO, TypeVar

T = TypeVar("T")

PATIENCE = 2.0  # seconds during which nothing is shown
EVERY = 10.0  # seconds between two lines where there is no terminal
_REFRESH = 0.2  # seconds between two looks at the clock's consequences


def progress(iterable: Iterable[T], what: str, total: int | None = None, unit: str = "") -> Iterator[T]:
    """The items of `iterable`; if that takes more than two seconds, how far it is is shown on standard error.

    Args:
        what: what is being done: `counting words`.
        total: how many items there will be (default: `len`, where there is one).
        unit: what an item is: `lines`.

    >>> list(progress([1, 2], "counting"))
    [1, 2]
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    with Meter(what, total, unit) as meter:
        for item in iterable:
            yield item
            meter.advance()


class Meter:
    """Progress by the amount: `with Meter("indexing", bytes, "B") as meter: ... meter.advance(65536)`.

    Args:
        what: what is being done.
        total: how much of it there is, None where unknown.
        unit: of the amounts; with "B" they are shown as kB, MB, GB.
        file: where to (default: standard error).
    """

    def __init__(self, what: str, total: int | None = None, unit: str = "", file: TextIO | None = None) -> None:
        self.what, self.total, self.unit, self.file = what, total, unit, file
        self.done = 0
        self.shown = False  # whether anything has been
        self._bar: Any = None

    def __enter__(self) -> Meter:
        self.began = time.monotonic()
        self._next = self.began + PATIENCE
        return self

    def advance(self, amount: int = 1) -> None:
        """So much more is done."""
        self.done += amount
        now = time.monotonic()
        if now >= self._next:
            self._show(now)

    def _show(self, now: float) -> None:
        file = self.file or sys.stderr
        if not file.isatty():
            self._next = now + EVERY
            print(self.line(now), file=file, flush=True)
        else:
            self._next = now + _REFRESH
            if self._bar is None:
                self._bar = _open_bar(file, self.total)
            self._bar.update(self._bar.task_ids[0], completed=self.done, words=self.line(now), refresh=True)
        self.shown = True

    def line(self, now: float) -> str:
        """`indexing: 12.0 GB of 20.0 GB (60 %), 400 MB/s, 0:20 left`."""
        seconds = max(now - self.began, 1e-9)
        rate = self.done / seconds
        parts = [f"{self.what}: {self._amount(self.done)}"]
        if self.total:
            parts[0] += f" of {self._amount(self.total)} ({min(self.done / self.total, 1.0):.0%})"
        parts.append(f"{self._amount(rate)}/s")
        if self.total and rate and self.done < self.total:
            left = round((self.total - self.done) / rate)
            parts.append(f"{left // 60}:{left % 60:02d} left")
        return ", ".join(parts)

    def _amount(self, value: float) -> str:
        if self.unit == "B":
            for size, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
                if value >= size:
                    return f"{value / size:,.1f} {name}"
        return f"{value:,.0f} {self.unit}".rstrip()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self.shown and kind is None:
            seconds = time.monotonic() - self.began
            print(
                f"{self.what}: {self._amount(self.done)} in {seconds:.0f} s", file=self.file or sys.stderr, flush=True
            )


def _open_bar(file: TextIO, total: int | None) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    one_line = Column(no_wrap=True, overflow="ellipsis")
    columns = (BarColumn(bar_width=24), TextColumn("{task.fields[words]}", markup=False, table_column=one_line))
    bar = Progress(*columns, console=Console(file=file), auto_refresh=False, transient=True)
    bar.add_task("", total=total, words="")
    bar.start()
    return bar

"""What a live page shows of a run, drawn again as its files change, but never so often that it slows the training."""

from __future__ import annotations

import hashlib
import html
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rondeau.errors import RondeauError
from rondeau.report.blocks import Section
from rondeau.report.page import anchors, render_section
from rondeau.report.sections import SECTIONS
from rondeau.report.status import fingerprint, status, times
from rondeau.tasks.record import RunRecord, read_record, with_summary
from rondeau.tasks.run_folder import RunFolder

SHARE = 10  # a section rests so many times as long as drawing it took: the training has the machine
BUDGET = 0.5  # seconds of drawing for one answer; what is left over comes with the next ones


@dataclass
class _Part:
    """A section as drawn last: for which state of the files, and until when it rests."""

    files: Any = None
    section: Section | None = None
    rest_until: float = 0.0


class Page:
    """The sections of a run's page.

    Args:
        run: the folder; it need not exist yet, and may be written anew at any time.
        now: the clock of file times, in seconds.
        ticks: the clock by which drawing is measured, in seconds.
    """

    def __init__(
        self, run: Path, now: Callable[[], float] = time.time, ticks: Callable[[], float] = time.monotonic
    ) -> None:
        self.run, self.now, self.ticks = run, now, ticks
        self.lock = threading.Lock()
        self.parts = {make: _Part() for make in SECTIONS}
        self.files: Any = None
        self.record: RunRecord | None = None
        self.trouble = ""
        self.summary: tuple[Any, RunRecord] | None = None
        self.made: dict[str, Any] = {}
        self.stale = True  # the page as it was put together holds what is not drawn any more

    def state(self, seen: str) -> dict[str, Any]:
        """`status`, a sentence, and `version`; where that is another than `seen`, `title`, `links`, `sections` too."""
        with self.lock:
            files = fingerprint(self.run)
            if files != self.files:
                self._read(files)
            if self._draw() or self.stale:
                self.made, self.stale = self._put_together(), False
            said = status(self.run, self.now())
        sentence = f"{said.sentence} {self.trouble}".strip()
        short = {"status": sentence, "state": said.state, "version": self.made["version"]}
        return short if seen == self.made["version"] else {**self.made, **short}

    def _read(self, files: Any) -> None:
        """Read the folder; what is half written stays as it was, is said, and read again at the next question."""
        self.trouble = ""
        if not files:
            self.files, self.record = files, None
            self._forget()
            return
        try:
            record = self._summarised(read_record(self.run, model=False))
            if self.record is not None and self.record.config != record.config:  # another run in its place
                self._forget()
            self.files, self.record = files, record
        except (RondeauError, OSError, ValueError, KeyError, TypeError) as error:
            self.trouble = f"Not all could be read just now: {error}"

    def _forget(self) -> None:
        """Nothing that was drawn is of this run, and nothing needs to rest."""
        self.parts, self.stale = {make: _Part() for make in self.parts}, True

    def _summarised(self, record: RunRecord) -> RunRecord:
        """With the model's summary, which is made once for each model."""
        run = RunFolder(self.run)
        model = times(run.model / "config.json")
        if self.summary is None or self.summary[0] != model:
            self.summary = model, with_summary(record, run)
        known = self.summary[1]
        return replace(record, layers=known.layers, totals=known.totals, no_model=known.no_model)

    def _draw(self) -> bool:
        """Draw what has changed and has rested, as much as one answer has time for; true if anything was."""
        drawn, first = False, self.ticks()
        for make, part in self.parts.items():
            began = self.ticks()
            if part.files == self.files or began < part.rest_until:
                continue
            if began - first > BUDGET:
                break
            section = make(self.record) if self.record is not None else None
            drawn |= section != part.section
            ended = self.ticks()
            part.files, part.section, part.rest_until = self.files, section, ended + SHARE * (ended - began)
        return drawn

    def _put_together(self) -> dict[str, Any]:
        sections = [part.section for part in self.parts.values() if part.section is not None]
        figures = anchors(sections)
        shown = [_part(section, figures) for section in sections]
        title = self.record.name if self.record is not None else self.run.resolve().name
        links = "".join(f'<li><a href="#{html.escape(s.id)}">{html.escape(s.title)}</a></li>' for s in sections)
        version = _digest(json.dumps([title, links, [part["made"] for part in shown]]))
        return {"version": version, "title": title, "links": links, "sections": shown}


def _part(section: Section, figures: dict[str, str]) -> dict[str, str]:
    text = render_section(section, figures)
    return {"id": section.id, "made": _digest(text), "html": text}


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

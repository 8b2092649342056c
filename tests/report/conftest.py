"""A real Chromium, where there is one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rondeau.insight.advice import Advice
from rondeau.report.html import page, write_report
from rondeau.tasks.record import read_record
from tests.report.made import fit_run, text_run

ADVICE = [
    Advice("vanishing", "problem", "The gradient vanishes", "It halves every 6 steps.", "Use LSTM", "flow"),
    Advice("clipping", "hint", "Clipped often", "50 % of updates.", "", "gradient-norm"),
    Advice("baseline", "good", "It beats its baselines", "By 0.375 bits.", "", "no-such-figure"),
]


@pytest.fixture(scope="session")
def text_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a language model's run with everything in it."""
    folder = text_run(tmp_path_factory.mktemp("text") / "run")
    path = folder / "report.html"
    path.write_text(page(replace(read_record(folder), advice=ADVICE)))
    return path


@pytest.fixture(scope="session")
def fit_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of what `fit` leaves."""
    return write_report(fit_run(tmp_path_factory.mktemp("fit") / "run"))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The browser, through playwright; a test that needs it is skipped where either is missing."""
    api = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    sandbox = [] if getattr(os, "geteuid", lambda: 1)() else ["--no-sandbox"]  # root may not have one
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=sandbox)
        yield browser
        browser.close()


class Tab:
    """A page, and all it complains of or asks for."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, address: str) -> Any:
        self.page.goto(address)
        return self.page


@pytest.fixture
def tabs(chromium: Any) -> Iterator[Any]:
    """Makes tabs: `tabs(color_scheme="dark", viewport=...)`."""
    made: list[Tab] = []

    def tab(**options: Any) -> Tab:
        made.append(Tab(chromium, **options))
        return made[-1]

    yield tab
    for one in made:
        one.context.close()

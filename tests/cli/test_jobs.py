"""What the commands print of tasks."""

from __future__ import annotations

import pytest

from rondeau.cli import jobs
from rondeau.tasks import TASKS, get_task


def test_the_demos_say_what_they_learn_each_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    jobs.demos()
    lines = capsys.readouterr().out.splitlines()
    for name in TASKS:
        (line,) = (line for line in lines if f" {name} " in line)
        assert get_task(name).demo
        assert get_task(name).demo in line

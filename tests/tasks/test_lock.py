"""Two processes and one run."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rondeau.cli.jobs import resume
from rondeau.errors import CheckpointError
from rondeau.tasks import lock
from rondeau.tasks.run_folder import RunFolder

OTHER = """
import sys
from pathlib import Path
from rondeau.tasks import lock
lock.hold(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.readline()
"""


@contextmanager
def another(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a run."""
    command = [sys.executable, "-c", OTHER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunFolder]:
    found = RunFolder.create(tmp_path / "run", overwrite=False)
    found.write_json(found.config, {"format": "rondeau-run", "version": 1})
    yield found
    found.release()


@pytest.mark.timeout(120)
def test_a_run_at_work_is_refused_by_name_and_free_once_its_process_has_died(run: RunFolder) -> None:
    with another(run.path) as process:
        expected = rf"another process works on the run \(at .*run\): got process {process.pid} on .*Wait until"
        with pytest.raises(CheckpointError, match=expected):
            run.hold()
        with pytest.raises(CheckpointError, match="another process works on the run"):
            RunFolder.create(run.path, overwrite=True)
        assert run.config.exists()
        process.kill()  # it cannot tidy up
        process.wait()
        run.hold()
    assert (run.path / lock.FILE).read_text().startswith(f"process {os.getpid()} on ")


def test_one_process_may_take_its_run_again(run: RunFolder) -> None:
    run.hold()
    run.hold()
    RunFolder(run.path).hold()
    run.release()
    assert not (run.path / lock.FILE).exists()
    run.release()
    run.config.unlink()
    run.hold()
    RunFolder.create(run.path, overwrite=False)  # a folder with nothing in it but the lock is an empty one


@pytest.mark.timeout(120)
def test_nobody_resumes_a_run_at_work(run: RunFolder) -> None:
    with another(run.path), pytest.raises(CheckpointError, match="another process works on the run"):
        resume(run.path)


def test_a_folder_made_anew_is_held_anew(run: RunFolder) -> None:
    run.hold()
    (run.path / lock.FILE).unlink()
    run.hold()
    assert (run.path / lock.FILE).exists()


def test_a_file_system_without_locks_is_told(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    run.hold()
    assert "see that no other process works on the run (No locks available)" in caplog.text

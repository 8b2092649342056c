"""The worker processes as the benchmark sees them: started when first needed, asked one at a time, always ended."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks.messages import Failure
from benchmarks.peers import Peer

THREADS = 2
# Between turns a worker sleeps on a pipe, and answers only when its libraries' threads no longer spin (`settle`).
# OMP_WAIT_POLICY=passive would also make them sleep within a step, between its regions, and slow torch down: not set.
ENVIRONMENT = {
    "OMP_NUM_THREADS": str(THREADS),
    "MKL_NUM_THREADS": str(THREADS),
    "OPENBLAS_NUM_THREADS": str(THREADS),
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "PYTHONWARNINGS": "ignore",
}


class PeerError(Exception):
    """A peer could not do what it was asked, in one line; `.detail` has the rest."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class PeerTimeout(PeerError):
    """A peer took longer than it may."""


class Worker:
    """One peer's process."""

    def __init__(self, peer: Peer, environment: dict[str, str] | None = None) -> None:
        self.peer = peer
        self.environment = environment or {}
        self.process: subprocess.Popen[bytes] | None = None

    def ask(self, what: str, *arguments: Any, patience: float) -> Any:
        """The worker's answer. Raises `PeerError` for one that fails, ends, or needs more than `patience` seconds."""
        process = self.process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Event()

        def give_up() -> None:
            late.set()
            _kill(process)

        alarm = threading.Timer(patience, give_up)
        alarm.start()
        try:
            pickle.dump((what, arguments), process.stdin, protocol=5)
            process.stdin.flush()
            answer = pickle.load(process.stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            detail = self._said()
            self.close()
            if late.is_set():
                raise PeerTimeout(f"took more than {patience:.0f} s") from error
            raise PeerError(f"its process ended with status {process.returncode}", detail) from error
        finally:
            alarm.cancel()
        if isinstance(answer, Failure):
            raise PeerError(answer.message, answer.traceback)
        return answer

    def close(self) -> None:
        """End the process, if there is one."""
        if self.process is None:
            return
        _kill(self.process)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            if stream is not None:
                with suppress(BrokenPipeError):  # what was still to be sent to a process that is gone
                    stream.close()
        self.process = None

    def _start(self) -> subprocess.Popen[bytes]:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the process
        path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]))
        environment = {**os.environ, **ENVIRONMENT, **self.peer.environment, **self.environment, "PYTHONPATH": path}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", self.peer.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment,
            start_new_session=True,  # so that compilers it has started end with it
        )
        return self.process

    def _said(self) -> str:
        """The last of what the process wrote to standard error."""
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")[-2000:]


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a worker and what it has started."""
    if not hasattr(os, "killpg"):
        process.kill()
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


class Pool:
    """One worker a peer; leaving the `with` block ends them all."""

    def __init__(self, environment: dict[str, str] | None = None) -> None:
        self.environment = environment or {}
        self.workers: dict[str, Worker] = {}

    def __getitem__(self, peer: Peer) -> Worker:
        return self.workers.setdefault(peer.name, Worker(peer, self.environment))

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers.values():
            worker.close()

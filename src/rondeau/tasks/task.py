"""What every job can be asked: the command line knows this and nothing else of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from rondeau.errors import ArgumentError, CheckpointError
from rondeau.insight.results import Results
from rondeau.tasks.look import Look
from rondeau.tasks.run_folder import RunFolder
from rondeau.tasks.settings import Asking, Common
from rondeau.tasks.speed import Speed
from rondeau.training.callbacks import Callback
from rondeau.training.lookup import unknown

S = TypeVar("S", bound=Common)
View = Callable[[int, Speed], list[Callback]]  # steps in a batch, speed -> callbacks that show the training


@dataclass
class Work(Generic[S]):
    """A run at work: its folder, what was asked, the data as they were read, and what was learnt from them before."""

    run: RunFolder
    settings: S
    data: Any
    prepared: Any


class Task(ABC, Generic[S]):
    """One kind of job.

    Attributes:
        name: the word of `--task`; title: for headings.
        settings: the dataclass of what it can be asked; asking: that of what `predict` can be asked.
        extra: the optional dependencies it needs, None for none.
        steps: what a step is called where speed is told ('tokens', 'steps').
        demo: what is learnt where no data are given, in a few words, for `rondeau demo --list`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    settings: type[S]
    asking: ClassVar[type[Asking]] = Asking
    extra: ClassVar[str | None] = None
    steps: ClassVar[str] = "steps"
    demo: ClassVar[str] = ""

    def guess(self, path: Path) -> str | None:
        """Why the data look like this task, in words; None where they do not. Looks at names and first lines only."""
        return None

    def demo_settings(self) -> S:
        """For `rondeau demo`: data that the package makes itself, learnt in a minute or three."""
        return self.settings()

    @abstractmethod
    def begin(self, settings: S, out: Path, overwrite: bool = False) -> Work[S]:
        """A new run folder, once data and settings have been found good."""

    @abstractmethod
    def reopen(self, run: RunFolder) -> Work[S]:
        """A run to go on with. Raises `CheckpointError` if its data have changed since."""

    @abstractmethod
    def describe(self, work: Work[S]) -> list[str]:
        """What was read, a line each."""

    @abstractmethod
    def fit(self, work: Work[S], view: View) -> bool:
        """Train, or go on training, until the last epoch; false if interrupted. The best epoch's model is kept."""

    @abstractmethod
    def conclude(self, work: Work[S], view: View) -> Results:
        """The best model beside the baselines on the test part, and all else that the report tells."""

    def sample(self, work: Work[S]) -> tuple[str, str] | None:
        """A title, and text to show at the end; None for none."""
        return None

    @abstractmethod
    def evaluate(self, run: RunFolder, path: str, device: str) -> Results:
        """A run's model on other data with known answers: one row."""

    def predict(self, run: RunFolder, path: str, device: str, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A record for each input in a file or folder, `-` for standard input; `options`: see `asking`."""
        raise ArgumentError(f"the task {self.name} has no predict", fix=self.instead())

    def asked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options that were given. Raises `ArgumentError` for one that there is not, or that cannot be."""
        known = [one.name for one in fields(self.asking)]
        for name in options:
            if name not in known:
                raise unknown(f"option of predict by {self.name}", name, known)
        asking = self.asking(**options)
        asking.check()
        return asking.given()

    def write(
        self,
        run: RunFolder,
        prompt: str,
        length: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> Iterator[str]:
        """The prompt, then what the model makes of it, piece by piece as it is drawn; see `rondeau generate`."""
        raise ArgumentError(f"the task {self.name} writes nothing", fix="Let it answer: rondeau predict RUN FILE")

    def save_written(self, run: RunFolder, pieces: Iterable[str], out: Path) -> None:
        """What `write` gives, as a file."""
        with open(out, "w", encoding="utf-8") as file:
            file.writelines(pieces)

    @abstractmethod
    def inspect(self, run: RunFolder, look: Look) -> dict[str, Any]:
        """What is found in a run's model, for `inspect.json`; empty where the task explains nothing."""

    def instead(self) -> str:
        """What to do where `predict` makes no sense."""
        return "See rondeau --help"


def settings_of(settings: type[S], run: RunFolder) -> S:
    """What a run was asked. Raises `CheckpointError` where its file does not say."""

    config = run.read_json(run.config)
    given = config.get("settings")
    if not isinstance(given, dict):
        raise CheckpointError("a file of the run is damaged", where=run.config, expected="settings")
    known = {one.name for one in fields(settings)}
    given = {"insight": False, **given}  # a run that began before there was any goes on without
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in given.items() if name in known
    }
    return settings(**values)

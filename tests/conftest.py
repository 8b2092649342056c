"""What every test shares: Keras on torch where it is the judge, shapes checked in the foundations, a seed."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "torch"

import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
import torch
from beartype import beartype
from hypothesis import settings
from jaxtyping import AbstractArray, config, install_import_hook


def has_shape(hint: Any) -> bool:
    """Whether an annotation says a tensor's shape, as `Float[Tensor, "batch units"]` does."""
    return (inspect.isclass(hint) and issubclass(hint, AbstractArray)) or any(map(has_shape, get_args(hint)))


def check_shapes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Beartype for shapes only: plain types are mypy's, and a wrong one from a user is the library's own to refuse."""
    hints = {name: hint for name, hint in function.__annotations__.items() if has_shape(hint)}
    function.__annotations__ = hints
    return beartype(function) if hints else function


# Shapes in the annotations of these rooms are checked at every call: jaxtyping looks the checker up by a module's name.
CHECKED = [
    "rondeau.sequence",
    "rondeau.init",
    "rondeau.cells",
    "rondeau.recurrence",
    "rondeau.nn.cells",
    "rondeau.layers",
]
sys.modules["shape_checks"] = ModuleType("shape_checks")
sys.modules["shape_checks"].check = check_shapes  # type: ignore[attr-defined]
install_import_hook(CHECKED, "shape_checks.check")

torch.set_num_threads(1)  # the tensors are small, and other processes may want the cores
settings.register_profile("rondeau", deadline=None, max_examples=60)  # a deadline would be a test of the machine
settings.load_profile("rondeau")


SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """The folder of a real data set by name, beside the project; the test is skipped where it is not there."""

    def folder(name: str) -> Path:
        if not (SHARED / name).is_dir():
            pytest.skip(f"there is no {SHARED / name}")
        return SHARED / name

    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--engine reference`: scans that name none run on the reference loop; `native`: on compiled loops, or fail."""
    parser.addoption("--engine", choices=["reference", "native"], help="the engine of scans that name none")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "native: about compiled loops; skipped under --engine reference")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--engine") == "reference":
        skip = pytest.mark.skip(reason="it is about compiled loops, and --engine reference was asked for")
        for item in items:
            if item.get_closest_marker("native"):
                item.add_marker(skip)


@pytest.fixture(autouse=True, scope="session")
def _engine(request: pytest.FixtureRequest) -> Iterator[None]:
    chosen = request.config.getoption("--engine")
    if chosen is None:
        yield
        return
    from rondeau.recurrence.engine import use_engine

    with use_engine(chosen):
        yield


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Shapes are not checked, as for a user: so that the library's own errors come to light."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)

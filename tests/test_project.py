"""What the project says about itself in several places agrees: versions, pins, rooms, declared dependencies."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import rondeau

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
# Slow to import, and needed by few: a program that only runs a layer does not wait for them.
LATE = ("click", "jinja2", "matplotlib", "tensorboard", "tokenizers", "torch._dynamo", "torchmetrics", "typer")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_the_version_is_said_once(project: dict[str, Any]) -> None:
    assert project["project"]["version"] == rondeau.__version__


def test_the_changelog_has_this_version_or_unreleased_changes() -> None:
    headings = re.findall(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert {"Unreleased", rondeau.__version__} & set(headings)


# Dependencies


def _name(requirement: str) -> str:
    return canonicalize_name(Requirement(requirement).name)


def _pins() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def _asked(project: dict[str, Any], *extras: str) -> list[str]:
    """The requirements of the package and the extras, those that name the package itself left out."""
    optional = project["project"]["optional-dependencies"]
    lines = project["project"]["dependencies"] + [line for extra in extras for line in optional[extra]]
    return [line for line in lines if _name(line) != "rondeau"]


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_has_one_pin_within_its_range(project: dict[str, Any], python: str) -> None:
    where = {"python_version": python, "python_full_version": f"{python}.9"}
    pins: dict[str, list[Requirement]] = {}
    for pin in _pins():
        if pin.marker is None or pin.marker.evaluate(where):
            pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    for line in _asked(project, *project["project"]["optional-dependencies"]):
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate(where):
            continue
        found = pins.get(canonicalize_name(requirement.name), [])
        assert len(found) == 1, f"{line}: {len(found)} pins on Python {python}"
        (exact,) = found[0].specifier
        assert exact.operator == "==", found[0]
        assert requirement.specifier.contains(exact.version), f"{found[0]} is outside {line}"


def _imports(file: Path) -> Iterator[str]:
    """The first names of the modules a file imports, at whatever depth."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            yield node.module.split(".")[0]


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("src", ("text", "table", "audio", "bio", "tensorboard")),
        ("examples", ("text", "table", "test")),
        ("tests", ("text", "table", "audio", "bio", "tensorboard", "test")),
    ],
)
def test_what_is_imported_is_declared(project: dict[str, Any], folder: str, extras: tuple[str, ...]) -> None:
    declared = set(map(_name, _asked(project, *extras)))
    known = packages_distributions()
    at_hand = sys.stdlib_module_names | {"rondeau"}
    if folder == "tests":
        at_hand |= {"packaging", "tomli"}  # pytest brings the one, and Python 3.10 the other
        at_hand |= {"benchmarks", "tests", "helpers_of_the_guards_tests"}  # the tests and what stands beside them
    if folder != "src":  # a script finds its neighbours
        at_hand |= {path.stem for path in (ROOT / folder).rglob("*.py")}
    missing = {
        f"{file.relative_to(ROOT)} imports {name}"
        for file in (ROOT / folder).rglob("*.py")
        for name in _imports(file)
        if name not in at_hand
        if not declared & {canonicalize_name(owner) for owner in known.get(name, [])}
    }
    assert not missing


def test_importing_the_package_loads_nothing_it_may_not_need() -> None:
    program = "import sys, torch, numpy; before = set(sys.modules); import rondeau; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "rondeau" in done.stdout.split()
    assert not set(LATE) & set(done.stdout.split())


# Rooms


def test_every_module_stands_in_a_room(project: dict[str, Any]) -> None:
    (rooms,) = (c for c in project["tool"]["importlinter"]["contracts"] if c["id"] == "rooms")
    named = {name.strip(" ()") for line in rooms["layers"] for name in re.split("[|:]", line)}
    package = ROOT / "src" / "rondeau"
    modules = {path.stem for path in package.glob("*.py")} | {
        path.parent.name for path in package.glob("*/__init__.py")
    }
    assert modules - {"__init__", *rooms["exhaustive_ignores"]} <= named


def test_every_room_is_an_ordinary_package() -> None:
    package = ROOT / "src" / "rondeau"
    folders = {path.parent for path in package.rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


# Text


def _texts() -> list[Path]:
    kinds = {".css", ".html", ".j2", ".md", ".py", ".toml", ".txt", ".yaml", ".yml"}
    inside = [path for folder in ("docs", "examples", "src", "tests") for path in (ROOT / folder).rglob("*")]
    found = [path for path in [*ROOT.iterdir(), *inside] if path.is_file() and path.suffix in kinds]
    return [*found, ROOT / ".ci" / "run", ROOT / "Makefile"]


def test_no_text_names_the_machine_it_was_written_on() -> None:
    paths = re.compile("|".join("/" + place for place in ("work/", "root/", "home/[a-z]", "opt/pypi", "tmp/probe")))
    found = [
        f"{path.relative_to(ROOT)}: {m.group()}" for path in _texts() for m in paths.finditer(path.read_text("utf-8"))
    ]
    assert found == []

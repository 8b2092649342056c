"""The pages say what is true: their programs run, print what they say they print, and their pictures are measured anew.

A page's ```python blocks run from top to bottom as one program. A ```text block right after one is what it prints. A
block that cannot run here is marked by the comment `<!-- no-run -->` on the line before it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import re
import sys
import traceback
import types
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from rondeau.nn import choice

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NO_RUN = "<!-- no-run -->"
FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```[ ]*$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A program of a page: its first line's number from 1, its text, what it should print (None: nobody says)."""

    line: int
    code: str
    output: str | None


def blocks(text: str) -> list[Block]:
    """The programs of a page, in order."""
    fences = list(FENCE.finditer(text))
    found = []
    for fence, after in zip(fences, [*fences[1:], None], strict=True):
        if not fence["info"].startswith("python"):
            continue
        assert fence["info"] == "python", f"write ```python and nothing else: {fence['info']!r}"
        assert not fence["indent"], f"an indented program is easily missed: {fence['body']!r}"
        if text[: fence.start()].rstrip("\n").endswith(NO_RUN):
            continue
        shown = None
        if after is not None and after["info"] == "text" and not text[fence.end() : after.start()].strip():
            shown = after["body"]
        found.append(Block(text.count("\n", 0, fence.start("body")) + 1, fence["body"], shown))
    return found


def run(page: Path, programs: list[Block]) -> None:
    """All programs of a page in one namespace. Fails with the page, the line and the reason."""
    module = types.ModuleType("__page__")
    sys.modules[module.__name__] = module  # where classes made on the page say they are from
    for block in programs:
        printed = io.StringIO()
        try:
            code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
            with contextlib.redirect_stdout(printed):
                exec(code, module.__dict__)
        except Exception as error:
            raised = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(page)]
            line = raised[-1].lineno if raised else getattr(error, "lineno", block.line)
            pytest.fail(f"{page}:{line}: {type(error).__name__}: {error}", pytrace=False)
        if block.output is not None and printed.getvalue() != block.output:
            reason = f"it printed\n\n{printed.getvalue()}\nand the page says\n\n{block.output}"
            pytest.fail(f"{page}:{block.line}: {reason}", pytrace=False)


def pages() -> list[Path]:
    """Every page with a program."""
    found = [*ROOT.glob("README.md"), *sorted(DOCS.rglob("*.md"))]
    return [page for page in found if "```python" in page.read_text("utf-8")]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_programs_of_a_page_run_and_print_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "__page__", None)  # put back afterwards, whatever it was
    monkeypatch.setattr(choice, "_said", set())  # what is said once a process has not been said to the page's reader
    dtype = torch.get_default_dtype()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            run(page, blocks(page.read_text("utf-8")))
    finally:
        torch.set_default_dtype(dtype)


# The judge itself

PAGE = """# A page

```python
x = 2
print(x + 1)
```

```text
3
```

<!-- no-run -->
```python
launch(missiles)
```

```sh
pip install rondeau
```

```python
class Thing:
    pass
print(x, Thing.__module__)
```

Text between makes what follows an ordinary listing.

```text
nothing of the kind
```
"""


def test_blocks_are_found_with_their_lines_and_outputs() -> None:
    assert [(block.line, block.output) for block in blocks(PAGE)] == [(4, "3\n"), (22, None)]
    assert blocks(PAGE)[0].code == "x = 2\nprint(x + 1)\n"


def test_a_page_in_order_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__page__", None)
    run(Path("page.md"), blocks(PAGE))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("print(x + 1)", "print(x + 1 / 0)", "page.md:5: ZeroDivisionError"),
        ("print(x + 1)", "print(x +", "page.md:5: SyntaxError"),
        ("x + 1", "x + 2", "page.md:4: it printed\n\n4\n\nand the page says\n\n3\n"),
        ("print(x, ", "print(y, ", "page.md:24: NameError"),
    ],
)
def test_a_broken_page_fails_with_its_line(old: str, new: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__page__", None)
    with pytest.raises(pytest.fail.Exception) as failure:
        run(Path("page.md"), blocks(PAGE.replace(old, new)))
    assert message in str(failure.value)


@pytest.mark.parametrize("fence", ["  ```python\n  1\n  ```\n", '```python title="a"\n1\n```\n'])
def test_a_program_that_would_be_passed_over_is_refused(fence: str) -> None:
    with pytest.raises(AssertionError):
        blocks(fence)


# Pictures


def description(svg: Path) -> dict[str, list[float]]:
    """What was measured for a picture."""
    found = [node.text for node in ET.parse(svg).iter("{http://purl.org/dc/elements/1.1/}description")]
    numbers: dict[str, list[float]] = json.loads(found[0] or "")
    return numbers


def load(name: str) -> Any:
    """A file of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pictures_show_what_is_measured_today(tmp_path: Path) -> None:
    load("figures").draw(tmp_path)
    drawn = {path.name: description(path) for path in tmp_path.iterdir()}
    kept = {path.name: description(path) for path in (DOCS / "images").iterdir()}
    assert drawn.keys() == kept.keys()
    assert sum(len(values) for numbers in kept.values() for values in numbers.values()) > 40
    for name, numbers in kept.items():
        assert drawn[name] == {curve: pytest.approx(values, rel=1e-6) for curve, values in numbers.items()}, name


def test_every_picture_is_on_a_page_and_described() -> None:
    text = "\n".join(page.read_text("utf-8") for page in DOCS.rglob("*.md"))
    shown = re.findall(r"!\[([^]]*)\]\((?:\.\./)?images/([^)]+)\)", text)
    assert sorted({name for _, name in shown}) == sorted(path.name for path in (DOCS / "images").iterdir())
    assert all(len(words) > 20 for words, _ in shown)


# The API pages


def test_examples_in_docstrings_are_fenced_as_programs() -> None:
    pytest.importorskip("griffe", reason="griffe comes with the extra `docs`")
    fenced = load("doctests").fenced
    inside = "Args:\n    x: a >>> b.\n\n    >>> f(\n    ...     1)\n    2\n\n    >>> g()\nText."
    fence = "    ```"
    assert fenced("no example: 3 >>> 2") == "no example: 3 >>> 2"
    assert fenced(inside).splitlines() == [
        "Args:",
        "    x: a >>> b.",
        "",
        f"{fence}pycon",
        "    >>> f(",
        "    ...     1)",
        "    2",
        fence,
        "",
        f"{fence}pycon",
        "    >>> g()",
        "Text.",
        fence,
    ]

"""`rondeau inspect` as a user meets it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from rondeau.cli import main
from rondeau.tasks.advice import advice_of
from rondeau.tasks.language import training as job
from rondeau.tasks.run_folder import RunFolder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspected")
    (folder / "text.txt").write_text("".join(f"{n} green bottles hanging on the wall.\n" for n in range(400)))
    path = str(folder / "text.txt")
    settings = job.Settings(path=path, units=12, epochs=1, window=16, batch_size=8, embedding=6)
    made, corpus = job.begin(settings, folder / "run")
    assert job.fit(made, settings, corpus, lambda tokens, speed: [])
    return made.path


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """What the program ends with."""
    monkeypatch.setattr(sys, "argv", ["rondeau", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_inspect_prints_the_essentials_and_rewrites_the_report(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "inspect", run) == 0
    shown = capsys.readouterr().out
    found = json.loads((run / "inspect.json").read_text("utf-8"))
    for words in ("surprise: the held-out text", "bits a token", "bits by which it became likelier", "lstm_1"):
        assert words in shown
    assert "".join(found["surprise"]["tokens"])[:40] in shown
    strongest = max(found["saliency"][0]["scores"], key=abs)
    assert f"{strongest:+.2f}" in shown
    advice = advice_of(RunFolder.open(run))
    assert advice
    assert all(one.title in shown for one in advice)
    page = (run / "report.html").read_text("utf-8")
    for section in ("surprise", "saliency", "hidden", "worst"):
        assert f'<section id="{section}"' in page
    assert page.count('<figure id="figure-saliency-') == len(found["saliency"])


def test_options_reach_what_is_found(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.txt"
    file.write_text("7 bottles on the wall")
    assert command(monkeypatch, "inspect", run, "--input", file, "--position", 4, "--method", "occlusion") == 0
    found = json.loads((run / "inspect.json").read_text("utf-8"))
    assert found["text"]["name"] == str(file)
    assert [(one["position"], one["method"]) for one in found["saliency"]] == [(4, "occlusion")]
    assert "why 't' at 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--input", "nowhere.txt"], "no such file"),
        (["--position", "0"], "a token with one before it"),
        (["--method", "guess"], "integrated_gradients"),
    ],
)
def test_mistakes_end_in_one_message(
    run: Path,
    arguments: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = (run / "inspect.json").read_bytes() if (run / "inspect.json").exists() else None
    assert command(monkeypatch, "inspect", run, *arguments) == 1
    assert words in capsys.readouterr().err.replace("\n", " ")
    assert (run / "inspect.json").exists() == (before is not None)


def test_a_folder_that_is_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "inspect", tmp_path) == 1
    assert "there is no run" in capsys.readouterr().err

"""The command line as a user meets it: in a process of its own."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rondeau.cli import main

SMALL = ["--units", "12", "--epochs", "2", "--window", "16", "--batch-size", "8", "--embedding", "6"]


def rondeau(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", "from rondeau.cli import main; main()", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=cwd, env=environment)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    (folder / "text.txt").write_text("".join(f"{n} green bottles hanging on the wall.\n" for n in range(400)))
    return folder


@pytest.fixture(scope="module")
def trained(work: Path) -> Path:
    done = rondeau("train", "text.txt", *SMALL, "--out", "run", cwd=work)
    assert done.returncode == 0, done.stderr
    for shown in ("epoch 2/2", "bits/char", "unigram", "Kneser-Ney", "feed-forward", "lstm, 2 x 12", "a sample"):
        assert shown in done.stdout
    assert len(re.findall(r"epoch \d/2  loss.*held out.*  [\d,]+ tokens/s  [\d.]+ s$", done.stdout, re.M)) >= 2
    assert re.search(r"^trained on [\d,]+ tokens in [\d.]+ s: [\d,]+ tokens/s on 1 thread$", done.stdout, re.M)
    return work / "run"


def test_training_leaves_everything_in_the_run_folder(trained: Path) -> None:
    names = {path.relative_to(trained).as_posix() for path in trained.rglob("*") if path.is_file()}
    assert names == {
        "config.json",
        "vocabulary.json",
        "history.jsonl",
        "speed.jsonl",
        "insight.jsonl",
        "inspect.json",
        "checks.json",
        "results.json",
        "samples.txt",
        "report.html",
        "checkpoint.safetensors",
        "model/config.json",
        "model/weights.safetensors",
    }
    assert json.loads((trained / "config.json").read_text())["settings"]["units"] == 12


def test_training_with_insight_ends_with_advice(work: Path) -> None:
    small = [
        "--units",
        "8",
        "--layers",
        "1",
        "--epochs",
        "1",
        "--window",
        "16",
        "--batch-size",
        "8",
        "--embedding",
        "6",
    ]
    done = rondeau("train", "text.txt", *small, "--insight", "--out", "insight", cwd=work)
    assert done.returncode == 0, done.stderr
    said = done.stdout.partition("\nadvice")[2]
    assert re.search(r"^(problem|hint|good) +[A-Z]", said, re.M), done.stdout
    assert (work / "insight" / "checks.json").is_file()
    title = re.search(r"^(?:problem|hint|good) +(.+?) *$", said, re.M)
    assert title is not None
    assert title[1] in (work / "insight" / "report.html").read_text()


def test_the_report_needs_nothing_else(trained: Path) -> None:
    page = (trained / "report.html").read_text()
    for section in ("learning", "baselines", "gradient", "gates", "state", "updates", "dynamics", "saliency", "worst"):
        assert f'<section id="{section}"' in page
    assert page.count("<svg") > 15
    # names of XML vocabularies are no addresses
    links = re.findall(r"""(?:src|href)=["'](?!#)([^"']+)""", re.sub(r'xmlns(:\w+)?="[^"]*"', "", page))
    assert [link for link in links if not link.startswith("data:")] == []
    assert "5-gram, interpolated Kneser-Ney" in page
    assert "tokens a second on 1 thread" in page


def test_reports_are_written_when_asked_for(trained: Path, work: Path) -> None:
    done = rondeau("report", "run", "--out", "elsewhere.html", "--tensorboard", "events", cwd=work)
    assert done.returncode == 0, done.stderr
    assert "elsewhere.html" in done.stdout
    assert (work / "elsewhere.html").read_text() == (trained / "report.html").read_text()
    assert list((work / "events").glob("events.out.*"))


def test_runs_are_compared(trained: Path, work: Path) -> None:
    config = json.loads((trained / "config.json").read_text())
    shutil.copytree(trained, work / "wider")
    config["settings"]["units"] = 48
    (work / "wider" / "config.json").write_text(json.dumps(config))
    done = rondeau("compare", "run", "wider", cwd=work)
    assert done.returncode == 0, done.stderr
    page = (work / "compare.html").read_text()
    assert re.search(r'<th scope="row">units</th><td>12</td><td>48</td>', page)


def test_generate_repeats_with_a_seed(trained: Path) -> None:
    first, again, other = (
        rondeau("generate", trained, "--prompt", "7 green", "--length", 40, "--seed", seed).stdout for seed in (1, 1, 2)
    )
    assert first.startswith("7 green")
    assert len(first) == len("7 green") + 40 + 1
    assert first == again
    assert first != other


def test_generate_with_the_likeliest_needs_no_seed(trained: Path) -> None:
    texts = {rondeau("generate", trained, "--length", 20, "--temperature", 0).stdout for _ in range(2)}
    assert len(texts) == 1


def test_evaluate_says_bits_and_unknown_characters(trained: Path, work: Path) -> None:
    (work / "other.txt").write_text("12 blue bottles! ÄÖ" * 20)
    done = rondeau("evaluate", trained, work / "other.txt")
    interval = r"\(\d\.\d{3}–\d\.\d{3}\)"
    assert re.search(rf"^380 characters of .*:\n  bits per character: \d\.\d{{3}} {interval}$", done.stdout, re.M)
    assert "not in the run's vocabulary" in done.stdout


def test_summary_shows_model_and_results(trained: Path) -> None:
    done = rondeau("summary", trained)
    assert "lstm (LSTM)" in done.stdout
    assert "bits per character" in done.stdout
    assert "tokens/s on 1 thread" in done.stdout


def test_a_run_from_before_speed_was_measured(trained: Path, work: Path) -> None:
    old = work / "old"
    shutil.copytree(trained, old)
    (old / "speed.jsonl").unlink()
    done = rondeau("summary", old)
    assert done.returncode == 0, done.stderr
    assert "lstm, 2 x 12" in done.stdout
    assert "tokens/s" not in done.stdout
    done = rondeau("train", "--resume", "old", cwd=work)
    assert done.returncode == 0, done.stderr
    assert "tokens a second" not in (old / "report.html").read_text()


def test_the_command_in_the_report_gives_the_same_numbers(trained: Path, work: Path) -> None:
    command = json.loads((trained / "config.json").read_text())["reproduce"]["command"]
    assert command in (trained / "report.html").read_text()
    assert command.startswith("rondeau train text.txt ")
    done = rondeau(*shlex.split(command)[1:], "--out", "twin", cwd=work)
    assert done.returncode == 0, done.stderr
    for name in ("history.jsonl", "results.json", "samples.txt", "model/weights.safetensors"):
        assert (work / "twin" / name).read_bytes() == (trained / name).read_bytes()


def test_an_existing_run_is_not_overwritten(trained: Path, work: Path) -> None:
    before = (trained / "history.jsonl").read_bytes()
    done = rondeau("train", "text.txt", *SMALL, "--out", "run", cwd=work)
    assert done.returncode == 1
    assert "the run folder exists" in done.stderr
    assert "--overwrite" in done.stderr
    assert (trained / "history.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "absent.txt"], "absent.txt"),
        (["train", "binary.bin"], "binary"),
        (["train", "latin1.txt"], "UTF-8"),
        (["train", "empty.txt"], "empty"),
        (["train", "short.txt"], "expected at least"),
        (["train", "text.txt", "--cell", "lsmt"], "Did you mean 'lstm'"),
        (["train", "text.txt", "--units", "0"], "units"),
        (["train", "text.txt", "--epochs", "0"], "epochs"),
        (["train", "text.txt", "--layers", "0"], "layers"),
        (["train", "text.txt", "--window", "100000"], "32 rows of a window of 100000"),
        (["train", "text.txt", "--dropout", "1.5"], "Dropout: rate"),
        (["train", "text.txt", "--device", "tpu"], "device"),
        (["train", "--resume", "nowhere"], "there is no run"),
        (["train", "--resume", "nowhere", "--units", "4"], "takes no other option"),
        (["generate", "nowhere"], "there is no run"),
        (["generate", "run", "--temperature", "-1"], "temperature"),
        (["generate", "run", "--prompt", "∫"], "never seen"),
        (["evaluate", "run", "absent.txt"], "absent.txt"),
        (["report", "nowhere"], "there is no run"),
        (["compare", "run"], "two runs or more"),
        (["compare", "run", "nowhere"], "there is no run"),
        (["watch", "run", "--port", "-1"], "--port"),
    ],
)
def test_mistakes_end_in_one_message(
    trained: Path,
    work: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (work / "binary.bin").write_bytes(b"\x00\x01\x02" * 100)
    (work / "latin1.txt").write_bytes("café ".encode("latin-1") * 300)
    (work / "empty.txt").write_text("")
    (work / "short.txt").write_text("a few words")
    monkeypatch.chdir(work)
    monkeypatch.setattr(sys, "argv", ["rondeau", *arguments])
    with pytest.raises(SystemExit) as end:  # in this process: sixteen new ones would each import torch
        main()
    assert end.value.code in (1, 2)
    said = capsys.readouterr().err
    assert message in " ".join(said.replace("│", " ").split())
    assert "Traceback" not in said
    assert not (work / "runs").exists()


def test_a_full_disk_loses_nothing_and_says_how_to_go_on(trained: Path, work: Path) -> None:
    full = """
import errno, os
from rondeau.training import files
import rondeau.cli
write, calls = files.write_atomically, [0]
def failing(path, content):
    if path.name == "checkpoint.safetensors":
        calls[0] += 1
        if calls[0] > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    write(path, content)
files.write_atomically = failing
rondeau.cli.main()
"""
    arguments = ["train", "text.txt", *SMALL, "--out", "full"]
    command, environment = [sys.executable, "-c", full, *arguments], {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=work, timeout=200, env=environment)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "--resume full" in done.stderr.replace("\n", " ")
    resumed = rondeau("train", "--resume", "full", cwd=work)
    assert resumed.returncode == 0, resumed.stderr
    weights = Path("model", "weights.safetensors")
    assert (work / "full" / weights).read_bytes() == (trained / weights).read_bytes()


def test_help_lists_the_commands() -> None:
    done = rondeau("--help")
    assert all(
        command in done.stdout for command in ("train", "demo", "generate", "evaluate", "summary", "report", "watch")
    )

"""What the watch says of a run, whom it answers, and how it ends."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rondeau.report import Watch
from rondeau.report.blocks import Section
from rondeau.report.live import SHARE, Page
from rondeau.report.status import QUIET, status, words
from tests.report.made import fit_run, history, text_run, write_lines


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    one = Watch(tmp_path / "run")
    thread = threading.Thread(target=one.serve)
    thread.start()
    yield one
    one.close()
    thread.join()


def ask(watch: Watch, method: str = "GET", path: str = "/", host: str | None = None) -> http.client.HTTPResponse:
    port = watch.server.server_address[1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest(method, path, skip_host=True)
    if host != "":
        connection.putheader("Host", host or f"127.0.0.1:{port}")
    connection.endheaders()
    return connection.getresponse()


def test_it_listens_on_the_loopback_only(watch: Watch) -> None:
    assert watch.server.socket.getsockname()[0] == "127.0.0.1"
    assert watch.server.socket.family == socket.AF_INET


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", ""]
)
def test_another_name_for_this_machine_is_refused(watch: Watch, host: str) -> None:
    port = watch.server.server_address[1]
    for path in ("/", "/state"):
        assert ask(watch, path=path, host=host.format(port=port)).status == 403


def test_its_own_names_are_answered(watch: Watch) -> None:
    port = watch.server.server_address[1]
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}"):
        answer = ask(watch, host=host)
        assert answer.status == 200
        assert answer.getheader("Cache-Control") == "no-store"
        assert answer.getheader("X-Frame-Options") == "DENY"
        assert answer.getheader("Access-Control-Allow-Origin") is None


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_it_answers_get_alone(watch: Watch, method: str) -> None:
    assert ask(watch, method).status == 405


@pytest.mark.parametrize("path", ["/other", "/../config.json", "/state/", "/%2e%2e/config.json"])
def test_there_are_no_other_pages(watch: Watch, path: str) -> None:
    assert ask(watch, path=path).status == 404


def test_it_sends_what_is_new_and_no_more(watch: Watch, tmp_path: Path) -> None:
    first = json.load(ask(watch, path="/state"))
    assert first["state"] == "absent"
    assert first["sections"] == []
    text_run(tmp_path / "run", insight=False)
    second = json.load(ask(watch, path=f"/state?version={first['version']}"))
    assert second["state"] == "finished"
    while second["sections"][-1]["id"] != "repeat":  # on a busy machine it comes in parts
        second = json.load(ask(watch, path="/state"))
    assert [section["id"] for section in second["sections"]][:2] == ["summary", "learning"]
    third = json.load(ask(watch, path=f"/state?version={second['version']}"))
    assert "sections" not in third
    assert third["version"] == second["version"]
    other = json.load(ask(watch, path="/state?version=of-an-older-watch"))
    assert other["sections"] == second["sections"]


def test_a_section_rests_after_it_was_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, ticks, drawn = fit_run(tmp_path / "run"), [0.0], []

    def slow(record: Any) -> None:
        drawn.append(len(record.history))
        ticks[0] += 2.0

    monkeypatch.setattr("rondeau.report.live.SECTIONS", (slow,))
    page = Page(run, ticks=lambda: ticks[0])
    page.state("")
    write_lines(run / "history.jsonl", history(1))
    page.state("")
    assert drawn == [4]
    ticks[0] += SHARE * 2.0
    page.state("")
    page.state("")
    assert drawn == [4, 1]


def test_an_answer_does_not_wait_for_all_to_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = [0.0]

    def slow(name: str) -> Any:
        def make(record: Any) -> Section:
            ticks[0] += 0.4
            return Section(name, name)

        return make

    monkeypatch.setattr("rondeau.report.live.SECTIONS", tuple(map(slow, "abcd")))
    page = Page(fit_run(tmp_path / "run"), ticks=lambda: ticks[0])
    shown = [[section["id"] for section in page.state("")["sections"]] for _ in range(3)]
    assert shown == [["a", "b"], ["a", "b", "c", "d"], ["a", "b", "c", "d"]]


def test_a_run_stays_while_it_is_half_written_and_goes_when_another_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rondeau.report.live.SHARE", 1e9)  # nothing that was drawn has rested
    monkeypatch.setattr("rondeau.report.live.BUDGET", 1e9)
    run = text_run(tmp_path / "run", insight=False)
    page = Page(run)

    def ids() -> list[str]:
        return [section["id"] for section in page.state("")["sections"]]

    assert "baselines" in ids()
    (run / "config.json").write_text('{"format": "rondeau-r')  # half of it
    assert "baselines" in ids()
    assert "Not all could be read just now" in page.state("")["status"]
    text_run(run, insight=False, seed=8)
    (run / "results.json").unlink()
    assert "baselines" not in ids()
    assert "learning" in ids()
    assert "Not all" not in page.state("")["status"]
    for file in run.iterdir():
        file.unlink()
    assert ids() == []


# Live, stalled, finished


def age(run: Path, seconds: float, now: float = 1e9) -> str:
    """What is said of a run when its newest file is so old."""
    for file in run.iterdir():
        os.utime(file, (now - seconds, now - seconds))
    return status(run, now).state


def test_file_times_say_whether_a_run_lives(tmp_path: Path) -> None:
    run = text_run(tmp_path / "run", insight=False)
    assert age(run, 1e6) == "finished"
    (run / "results.json").unlink()
    write_lines(run / "history.jsonl", history(4))
    assert age(run, QUIET - 1) == "live"
    assert age(run, QUIET + 1) == "stalled"
    (run / "checkpoint.safetensors").write_bytes(b"")
    os.utime(run / "checkpoint.safetensors", (1e9 - 2, 1e9 - 2))
    assert status(run, 1e9).sentence == "Live: 4 of 5 epochs, last written 2 s ago."
    write_lines(run / "speed.jsonl", [{"seconds": 100.0}])
    assert age(run, 299) == "live"
    assert age(run, 301) == "stalled"


def test_a_run_of_fit_is_finished_once_all_epochs_are_done(tmp_path: Path) -> None:
    run = fit_run(tmp_path / "run")
    assert age(run, QUIET + 1) == "stalled"
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "settings": {"epochs": 4}}))
    assert age(run, QUIET + 1) == "finished"
    assert status(tmp_path / "nowhere", 0.0).state == "absent"


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (119, "119 s"), (180, "3 min"), (7200, "2 h"), (9e5, "10 days")]
)
def test_ages_in_words(seconds: float, said: str) -> None:
    assert words(seconds) == said


# The command


def test_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", "from rondeau.cli import main; main()", "watch", "run", "--no-open"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert process.stdout is not None
    address = process.stdout.readline().split()[0]
    connection = http.client.HTTPConnection(address.split("/")[2], timeout=60)
    connection.request("GET", "/state")
    assert json.load(connection.getresponse())["state"] == "absent"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")

"""Which way a call goes, and what is said of it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence
from torch.utils.flop_counter import FlopCounterMode

import rondeau
from rondeau.nn import choice, stack
from rondeau.recurrence import engine
from rondeau.recurrence.engine import use_engine


@pytest.fixture(autouse=True)
def _free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has asked for an engine, whatever --engine says."""
    monkeypatch.setattr(engine, "_forced", [])


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each scan."""
    made: list[int] = []
    scan = stack.scan
    monkeypatch.setattr(stack, "scan", lambda *a, **k: made.append(1) or scan(*a, **k))
    return made


def _goes(module: Any, x: Any, scans: list[int]) -> bool:
    scans.clear()
    module(x)
    return bool(scans)


@pytest.mark.parametrize("name", ["GRU", "RNN"])
def test_long_calls_run_on_loops(name: str, scans: list[int]) -> None:
    module = getattr(rondeau.nn, name)(3, 4)
    for training in (True, False):
        with torch.set_grad_enabled(training):
            assert _goes(module, torch.zeros(choice.SHORT, 2, 3), scans)
            assert _goes(module, torch.zeros(choice.SHORT, 3), scans)
            assert not _goes(module, torch.zeros(choice.SHORT - 1, 2, 3), scans)
            assert not _goes(module, torch.zeros(2, 400, 3), scans)
    module.batch_first = True
    assert _goes(module, torch.zeros(2, choice.SHORT, 3), scans)
    assert not _goes(module, torch.zeros(choice.SHORT, 2, 3), scans)
    with use_engine("native"):
        assert _goes(module, torch.zeros(1, 1, 3), scans)


def test_lstms_where_onednn_is_slower(scans: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_onednn", lambda: True)
    monkeypatch.setattr(choice, "SMALL", 40 * 16 * 16)
    module, long, short = rondeau.nn.LSTM(3, 16), torch.zeros(40, 1, 3), torch.zeros(39, 1, 3)
    assert _goes(module, long, scans)
    assert not _goes(module, short, scans)
    with torch.no_grad():
        assert not _goes(module, long, scans)
    assert not _goes(module.requires_grad_(False), long, scans)
    packed = pack_sequence([torch.zeros(39, 3)])  # type: ignore[arg-type]
    assert _goes(module, packed, scans)  # which oneDNN does not take
    assert _goes(rondeau.nn.LSTM(3, 16, proj_size=2), short, scans)
    assert _goes(rondeau.nn.LSTM(3, 16).double(), short.double(), scans)
    monkeypatch.setattr(choice, "_onednn", lambda: False)
    assert _goes(module, short, scans)


def test_said_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_said", set())
    module = rondeau.nn.GRU(3, 4)
    with caplog.at_level(logging.INFO, "rondeau.nn"):
        for _ in range(2):
            module(torch.zeros(5, 2, 3))
            with torch.autocast("cpu", torch.bfloat16):
                module(torch.zeros(40, 2, 3))
    assert [record.getMessage() for record in caplog.records] == [
        "torch's own function computes a rondeau.nn.GRU: fewer than 32 steps are over before a loop pays",
        "torch's own function computes a rondeau.nn.GRU: autocast computes in torch.bfloat16",
    ]


class _Tensor(torch.Tensor):
    pass


def test_what_scans_do_not_take() -> None:
    plain = torch.zeros(2)
    assert choice.elsewhere([plain, torch.nn.Parameter(plain)]) is None
    assert choice.elsewhere([plain, plain.as_subclass(_Tensor)]) == "a _Tensor is no plain tensor"
    assert choice.elsewhere([plain, plain.to_sparse()]) == "a sparse tensor"
    assert choice.elsewhere([plain, plain.to("meta")]) == "the tensors are on meta"
    assert choice.elsewhere([plain, plain.double()]) == "it computes in torch.float64"
    assert choice.elsewhere([plain.half()]) == "it computes in torch.float16"
    with torch.autograd.forward_ad.dual_level():
        assert choice.elsewhere([plain]) == "forward-mode differentiation transforms torch's own operations"
    with FlopCounterMode(display=False):
        assert choice.elsewhere([plain]) == "torch's own operations are being recorded"

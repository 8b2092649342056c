"""Tests of torch.compile and torch.export, which read the library's code, run where nothing is wrapped around it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["under_compile", "under_export"])
def test_in_a_process_of_its_own(name: str) -> None:
    file = Path(__file__).with_name(f"{name}.py")
    command = [sys.executable, "-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider", "--show-capture=no"]
    ran = subprocess.run([*command, str(file)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr

"""Arrays on disk, part by part."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rondeau.data.disk import mapped
from rondeau.data.disk.cache import Scratch


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9])
def test_blocks_side_by_side_are_the_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(mapped, "BLOCK", 4)
    monkeypatch.setattr(mapped, "_HELD", 1)
    records = np.zeros(rows, [("a", "i4"), ("b", "f8")])
    records["b"] = np.arange(rows)
    records.tofile(tmp_path / "records")
    on_disk = mapped.mapped(tmp_path / "records", records.dtype)
    found = list(mapped.in_blocks(on_disk["b"], np.arange(rows)))
    assert [begin for begin, _ in found] == list(range(0, rows, 4))
    assert all(type(part) is np.ndarray for _, parts in found for part in parts)
    for i in range(2):
        whole = np.concatenate([np.zeros(0), *(parts[i] for _, parts in found)])
        np.testing.assert_array_equal(whole, np.arange(rows))


def test_a_folder_for_temporary_files_goes_with_its_object() -> None:
    scratch = Scratch()
    (scratch.path / "file").write_text("x")
    path = scratch.path
    del scratch
    assert not path.exists()

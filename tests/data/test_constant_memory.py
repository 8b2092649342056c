"""Ten times the data take no more memory: in a process of its own each, by the system's own count."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("the system does not say how much memory there was at most", allow_module_level=True)

COMMON = """
import json, sys
from pathlib import Path
import numpy as np
from rondeau.data import Buckets, Prefetch, TextWindows, buckets
from rondeau.data.disk import cache, lines, mapped
from rondeau.data.tables import grouped
from rondeau.data.texts import large_text
from rondeau.training import steps

# blocks small beside both files: the smaller one fills them too
lines._BLOCK = large_text._BLOCK = mapped._HELD = steps.MAPPED = 1 << 20
grouped._BLOCK = buckets._BLOCK = 1 << 14

def status(field):
    line = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith(field))
    return int(line.split()[1]) * 1024

path, out = Path(sys.argv[1]), Path(sys.argv[2])
out.mkdir()
cache.folder = lambda: out / "cache"
before = status("VmRSS")
"""
TEXT = """
large_text.HELD_OUT = 100_000
split = large_text.read_large_text(path)
ids = large_text.encode_large(split, large_text.train_on_large(split.train, "characters", 0))[0]
units = sum(batch.x.numel() for batch in TextWindows(ids, 32, 512).batches(0, 0, 0) if hasattr(batch.x, "numel"))
"""
LINES = """
from rondeau.data.texts.counting import count_tokens, pack_tokens
from rondeau.data.disk.lines import Lines
from rondeau.data.texts.vocabulary import Vocabulary
records = Lines(path, delimiter=",")
words = Vocabulary.from_counts(count_tokens(line.split() for line in records))
rows = pack_tokens((line.split() for line in records), words, out / "rows")
source = Prefetch(Buckets(rows.lengths, rows.batch, tokens=500))  # a row may bring 64 kB of each file with it
units = sum(len(batch.x.values) for batch in source.batches(0, 0, 0))
assert units == int(rows.lengths.sum())
"""
ROWS = """
from rondeau.data.tables.grouped import Grouper
from rondeau.data.scaler import Scaler
scaler, rng = Scaler(), np.random.default_rng(0)
with Grouper(out / "rows", 8) as grouper:
    for part in range(path.stat().st_size // 4_000_000):
        values = rng.normal(size=(100_000, 8))
        scaler.update(values)
        grouper.add(rng.integers(0, 5000, 100_000), rng.integers(0, 10**9, 100_000), values)
rows = grouper.result.values
units = sum(len(batch.x.values) for batch in Buckets(rows.lengths, rows.batch, tokens=2000).batches(0, 0, 0))
assert units == int(rows.lengths.sum())
"""
EVENTS = """
import pandas, pyarrow
from rondeau.data.disk import growing
from rondeau.data.tables import table
from rondeau.tasks.events.task import EventClassification, EventSettings
mapped.BLOCK, growing._HELD, table._CHUNK = 1 << 14, 1 << 15, 1 << 19
count, rng = path.stat().st_size // 50, np.random.default_rng(0)
with (out / "cards.csv").open("w") as file:
    file.write("card,time,shop,amount,fraud\\n")
    for begin in range(0, count, 10_000):
        parts = (rng.integers(0, high, 10_000).tolist() for high in (2000, 10**6, 50, 1000, 2))
        file.writelines(f"{c},{t},shop{s},{a}.5,{f}\\n" for c, t, s, a, f in zip(*parts))
before = status("VmRSS")  # with these packages
job, settings = EventClassification(), EventSettings(path=str(out / "cards.csv"), split="both", insight=False)
data = job.read(settings)
prepared = job.prepare(settings, data)
source = job.batches(settings, prepared, data.train, True)
units = sum(len(batch.y.values) for batch in source.batches(0, 0, 0))
"""
SLACK = 25_000_000  # bytes: what allocators keep, and bookkeeping of eight bytes a row on disk


def _peak(program: str, path: Path, out: Path) -> tuple[int, int]:
    """Bytes at the peak above what stood before, and what was gone through."""
    report = "\nprint(json.dumps([status('VmHWM') - before, units]))"
    command = [sys.executable, "-c", COMMON + program + report, str(path), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    peak, units = json.loads(done.stdout)
    return peak, units


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("program", [TEXT, LINES, ROWS, EVENTS], ids=["a text", "documents", "rows by key", "events"])
def test_ten_times_the_data_take_no_more_memory(tmp_path: Path, program: str) -> None:
    found = []
    for number, size in enumerate((10_000_000, 100_000_000)):
        path = tmp_path / f"{size}.txt"
        line = b"some words of a line that comes again, and again\n"
        path.write_bytes(line * (size // len(line)))
        found.append(_peak(program, path, tmp_path / str(number)))
        path.unlink()
    (small, few), (large, many) = found
    assert many > 8 * few
    assert large < small + SLACK

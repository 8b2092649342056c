"""Data larger than memory: tokens and rows a second from disk to step, and the most memory a process had, at two sizes.

    python -m benchmarks.scale [--share 0.01] [--folder FOLDER]

Makes, by seed, a text of 2 GB, a CSV of 20 million rows in 200,000 entities, a JSONL file of a million documents,
100,000 sound files in folders, and a FASTA file of 3 billion bases; with `--share` less of each. Everything is done at
a tenth of the size too, in a process of its own: memory that is constant is the same for both. The files, and the
cache, are deleted at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rondeau.sequence import Ragged

TEXT, ROWS, DOCUMENTS = 2_000_000_000, 20_000_000, 1_000_000  # bytes; rows; documents
ENTITIES = 200_000
RECORDINGS = 100_000
BASES = 3_000_000_000
FED_SECONDS, STEP_SECONDS = 60.0, 20.0  # for which reading is measured at most, and training


class Measured(NamedTuple):
    """What a process found: how many units there were, seconds, and bytes of memory at its peak."""

    units: int
    prepare: float  # seconds: reading, counting, encoding, once
    fed: float  # units a second that come as batches
    stepped: float  # units a second that a model learns from
    before: int  # bytes of memory once everything was imported
    peak: int
    padding: float | None = None


# Making the files


def _words(rng: np.random.Generator) -> Any:
    letters = np.array(list("etaoinshrdlucmfwypvbgk"))
    words = np.empty(20_000, object)
    words[:] = ["".join(rng.choice(letters, size)) for size in rng.integers(2, 10, 20_000)]
    return words


def _ranks(rng: np.random.Generator, count: int) -> Any:
    """Ranks of words by Zipf's law, nearly: log-uniform."""
    return np.minimum(np.exp(rng.random(count) * np.log(20_000)), 19_999).astype(np.int64)


def make_text(path: Path, share: float) -> None:
    """Lines of twelve words."""
    rng = np.random.default_rng(0)
    words, size = _words(rng), 0
    inside, last = (np.array([(word + end).encode() for word in words]) for end in " \n")  # padded by zeros
    with path.open("wb") as file:
        while size < TEXT * share:
            drawn = inside[ranks := _ranks(rng, 240_000)].reshape(-1, 12)
            drawn[:, -1] = last[ranks.reshape(-1, 12)[:, -1]]
            size += file.write(drawn.tobytes().replace(b"\0", b""))


def make_documents(path: Path, share: float) -> None:
    """`{"text": ..., "label": 0 or 1}`; log-normal lengths, 33 words on average."""
    rng = np.random.default_rng(1)
    words = _words(rng)
    with path.open("w") as file:
        for _ in range(max(round(DOCUMENTS * share / 10_000), 1)):
            lengths = rng.lognormal(3.3, 0.6, 10_000).astype(np.int64) + 1
            texts = np.split(words[_ranks(rng, int(lengths.sum()))], lengths.cumsum()[:-1])
            labels = rng.integers(0, 2, 10_000).tolist()
            file.writelines(
                f'{{"text": "{" ".join(text)}", "label": {label}}}\n' for text, label in zip(texts, labels, strict=True)
            )


def make_events(path: Path, share: float) -> None:
    """`card,time,shop,amount,fraud` in the order of time; some cards are used much more than others."""
    rng = np.random.default_rng(2)
    rows, cards = max(round(ROWS * share), 1000), max(round(ENTITIES * share), 10)
    weights = rng.lognormal(0, 0.8, cards)
    edges = np.cumsum(weights / weights.sum())
    with path.open("w") as file:
        file.write("card,time,shop,amount,fraud\n")
        for begin in range(0, rows, 200_000):
            count = min(200_000, rows - begin)
            drawn = np.minimum(np.searchsorted(edges, rng.random(count)), cards - 1).tolist()
            shops, fraud = rng.integers(0, 500, count).tolist(), (rng.random(count) < 0.01).astype(int).tolist()
            amounts = rng.lognormal(3, 1, count).round(2).tolist()
            each = zip(drawn, range(begin, begin + count), shops, amounts, fraud, strict=True)
            file.writelines(f"{c},{t},shop{s},{a},{f}\n" for c, t, s, a, f in each)


def make_audio(path: Path, share: float) -> None:
    """A folder of 35 classes: wav files of 8,000 samples a second, 0.25 to 0.75 seconds of noise with a tone."""
    from rondeau.data.audio.read import library

    rng = np.random.default_rng(3)
    noise, rate = rng.standard_normal(1 << 16).astype(np.float32) * 0.02, 8000
    for number in range(max(round(RECORDINGS * share), 100)):
        size, begin = rng.integers(2000, 6000), rng.integers(0, 60_000 - 6000)
        tone = 0.3 * np.sin(2 * np.pi * (200 + 50 * (number % 35)) * np.arange(size, dtype=np.float32) / rate)
        file = path / f"class{number % 35:02d}" / f"{number:06d}.wav"
        if number < 35:
            file.parent.mkdir(parents=True)
        library("soundfile").write(file, tone + noise[begin : begin + size], rate)


def make_genome(path: Path, share: float) -> None:
    """Twenty-four records of equal length, each with unknown bases at its beginning; lines of 60."""
    rng = np.random.default_rng(3)
    lines = max(round(BASES * share / 24 / 60), 20)
    letters = np.frombuffer(b"ACGT\n", np.uint8)
    with path.open("wb") as file:
        for number in range(24):
            file.write(b">chr%d\n" % (number + 1))
            for begin in range(0, lines, 50_000):
                drawn = rng.integers(0, 4, (min(50_000, lines - begin), 61), np.uint8)
                drawn[:, 60] = 4
                block = letters[drawn]
                if not begin:
                    block[: lines // 100, :60] = ord("N")
                file.write(block.tobytes())


# What is measured


def measure_text(path: Path) -> Measured:
    """Characters: a stateful LSTM of 128 units over windows of 64, 64 rows side by side."""
    from rondeau.data.texts.large_text import encode_large, read_large_text, train_on_large
    from rondeau.data.texts.windows import TextWindows
    from rondeau.models.language_model import language_model
    from rondeau.training.losses import SparseCategoricalCrossentropy

    model = language_model(25, units=128)  # 22 letters, blank, line break, unknown
    model.compile("adam", SparseCategoricalCrossentropy(from_logits=True), device="cpu")
    before, began = _resident("VmRSS"), time.perf_counter()
    text = read_large_text(path)
    tokenizer = train_on_large(text.train, "characters", 0)
    ids = encode_large(text, tokenizer)[0]
    prepare = time.perf_counter() - began
    source = TextWindows(ids, 64)
    fed = _fed(source.in_windows(64).batches(0, 0, 0))
    stepped = _learnt(model, source, window=64)
    return Measured(len(text.train), prepare, fed, stepped, before, _resident("VmHWM"))


def measure_documents(path: Path) -> Measured:
    """Tokens: embedding and an LSTM of 64 units, batches of about 4,096 tokens."""
    from rondeau.data import Buckets, Prefetch
    from rondeau.data.disk.cache import folder
    from rondeau.data.disk.lines import Lines
    from rondeau.data.texts.counting import count_tokens, pack_tokens
    from rondeau.data.texts.vocabulary import Vocabulary
    from rondeau.layers import LSTM, Dense, Embedding
    from rondeau.models import Sequential

    model = Sequential([Embedding(20_000, 64), LSTM(64), Dense(1)])
    model.compile("adam", "mse", device="cpu")
    before, began = _resident("VmRSS"), time.perf_counter()
    lines = Lines(path)

    def documents() -> Iterator[list[str]]:
        return (json.loads(line)["text"].split() for line in lines)

    words = Vocabulary.from_counts(count_tokens(documents(), total=len(lines)), size=20_000)
    rows = pack_tokens(documents(), words, folder() / "documents", total=len(lines))
    labels = np.fromiter((json.loads(line)["label"] for line in lines), np.float32, len(lines))
    prepare = time.perf_counter() - began

    def make(numbers: Any) -> Any:
        return rows.batch(numbers), labels[numbers.numpy(), None]

    source = Buckets(rows.lengths, make, tokens=4096)
    fed = _fed(Prefetch(source).batches(0, 0, 0))
    stepped = _learnt(model, Prefetch(source))
    tokens = int(rows.lengths.sum())
    return Measured(tokens, prepare, fed, stepped, before, _resident("VmHWM"), source.waste)


def measure_events(path: Path) -> Measured:
    """Rows: an LSTM of 64 units over each card's transactions, batches of about 4,096 of them."""
    import pandas as pd

    from rondeau.data import Buckets, Prefetch
    from rondeau.data.disk.cache import folder
    from rondeau.data.scaler import Scaler
    from rondeau.data.tables.grouped import Grouper
    from rondeau.layers import LSTM, Dense
    from rondeau.models import Sequential

    model = Sequential([LSTM(64, return_sequences=True), Dense(1)])
    model.compile("adam", "mse", device="cpu")
    before, began = _resident("VmRSS"), time.perf_counter()
    scaler, rows = Scaler(), 0
    codes: dict[str, int] = {}
    with Grouper(folder() / "events", 3) as grouper:
        for part in pd.read_csv(path, chunksize=200_000):
            codes.update((shop, len(codes)) for shop in part["shop"].unique() if shop not in codes)
            amount = np.log1p(part["amount"].to_numpy())
            scaler.update(amount)
            values = np.stack([part["shop"].map(codes).to_numpy(), amount, part["fraud"].to_numpy()], 1)
            grouper.add(part["card"].to_numpy(), part["time"].to_numpy(), values)
            rows += len(part)
    cards = grouper.result.values
    prepare = time.perf_counter() - began

    def make(numbers: Any) -> Any:
        batch = cards.batch(numbers)
        amount = scaler.transform(batch.values[:, 1:2].numpy())
        shop = batch.values[:, :1].numpy() / len(codes)
        x = np.concatenate([shop, amount], 1, dtype=np.float32)
        return batch.with_values(_tensor(x)), batch.with_values(batch.values[:, 2:])

    source = Buckets(cards.lengths, make, tokens=4096)
    fed = _fed(Prefetch(source).batches(0, 0, 0))
    stepped = _learnt(model, Prefetch(source))
    return Measured(rows, prepare, fed, stepped, before, _resident("VmHWM"), source.waste)


def measure_job(path: Path) -> Measured:
    """Rows, as `rondeau train` reads them: columns recognised, divided by card, histories cut at 400 events."""
    from rondeau.tasks.events.task import EventClassification, EventSettings

    job, settings = EventClassification(), EventSettings(path=str(path), insight=False, device="cpu")
    import pandas  # noqa: F401  (imported with all else)
    import pyarrow.csv
    import pyarrow.parquet  # noqa: F401

    before, began = _resident("VmRSS"), time.perf_counter()
    data = job.read(settings)
    prepared = job.prepare(settings, data)
    prepare = time.perf_counter() - began
    source = job.batches(settings, prepared, data.train, True)
    fed = _fed(source.batches(0, 0, 0))
    model = job.build(settings, prepared, data)
    model.compile("adam", job.loss(settings, prepared, data), device="cpu")
    stepped = _learnt(model, source)
    rows = sum(data.sizes["events"].values())
    return Measured(rows, prepare, fed, stepped, before, _resident("VmHWM"))


def measure_genome(path: Path) -> Measured:
    """Bases: an LSTM of 128 units over windows of 256 of both strands, 64 at a time, in another order each epoch."""
    from rondeau.data.dna.alphabets import DNA
    from rondeau.data.dna.genome import index_genome
    from rondeau.tasks.dna.language import network
    from rondeau.tasks.dna.pieces import Pieces
    from rondeau.tasks.dna.settings import LanguageSettings
    from rondeau.tasks.dna.windows import Tokens, Windows
    from rondeau.training.losses import SparseCategoricalCrossentropy

    model = network(Tokens(DNA), LanguageSettings(cell="lstm", units=128))
    model.compile("adam", SparseCategoricalCrossentropy(from_logits=True), device="cpu")
    before, began = _resident("VmRSS"), time.perf_counter()
    genome = index_genome([path])
    prepare = time.perf_counter() - began
    source = Windows(Pieces.whole(genome), Tokens(DNA), 256, both=True).source(64, shuffle=True)
    fed = _fed(source.batches(0, 0, 0))
    stepped = _learnt(model, source)
    return Measured(int(genome.lengths.sum()), prepare, fed, stepped, before, _resident("VmHWM"))


def _tensor(array: Any) -> Any:
    import torch

    return torch.from_numpy(array)


def _steps_in(batch: Any) -> int:
    x = next(iter(batch.x.values())) if isinstance(batch.x, dict) else batch.x
    return len(x.values) if isinstance(x, Ragged) else int(x.numel())


def _fed(batches: Iterator[Any]) -> float:
    """Steps a second of batches that nobody uses: of a whole epoch, or of as much as comes in some minutes."""
    began, steps = time.perf_counter(), 0
    for batch in batches:
        steps += _steps_in(batch)
        if time.perf_counter() - began > FED_SECONDS:
            break
    return steps / (time.perf_counter() - began)


def _learnt(model: Any, source: Any, window: int | None = None) -> float:
    """Steps a second that `fit` learns from, over some seconds, the first ten batches left out."""
    from rondeau.training.callbacks import Callback

    class Clock(Callback):
        """Stops the training when its time is over."""

        steps, rate = 0, 0.0

        def on_train_batch_end(self, batch: int, logs: dict[str, Any]) -> None:
            if batch == 10:
                self.began = time.perf_counter()
            elif batch > 10:
                self.steps += _steps_in(self.loop.given)
                seconds = time.perf_counter() - self.began
                self.rate, self.model.stop_training = self.steps / seconds, seconds > STEP_SECONDS

    clock = Clock()
    model.fit(source, window=window, callbacks=[clock], verbose=0)
    return clock.rate


def _resident(field: str) -> int:
    """A field of the process's status, in bytes."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def measure_audio(path: Path) -> Measured:
    """Frames of 40 bands, altered as in training: a convolution and a GRU of 64 units, 32 recordings a batch."""
    import torch

    from rondeau.data import Prefetch
    from rondeau.data.audio.batches import AudioBatches, Frames
    from rondeau.data.audio.features import Features
    from rondeau.data.audio.find import find_audio
    from rondeau.data.audio.read import library
    from rondeau.tasks.audio.network import audio_network
    from rondeau.tasks.audio.settings import AUGMENTS
    from rondeau.training.losses import SparseCategoricalCrossentropy

    library("soundfile"), library("soxr")
    model = audio_network(40, 35)
    model.compile("adam", SparseCategoricalCrossentropy(from_logits=True), device="cpu")
    before, began = _resident("VmRSS"), time.perf_counter()
    index = find_audio(path)
    prepare = time.perf_counter() - began
    classes = torch.from_numpy(index.labels.numbers.astype(np.int64))
    frames = Frames(index, Features(rate=8000), augment=AUGMENTS["light"])
    source = AudioBatches(frames, lambda rows: classes[rows], 32)
    fed = _fed(Prefetch(source).batches(0, 0, 0))
    stepped = _learnt(model, Prefetch(source))
    return Measured(int(frames.lengths().sum()), prepare, fed, stepped, before, _resident("VmHWM"), source.waste)


CASES: dict[str, tuple[str, Callable[[Path, float], None], Callable[[Path], Measured]]] = {
    "text": ("characters", make_text, measure_text),
    "documents": ("tokens", make_documents, measure_documents),
    "events": ("rows", make_events, measure_events),
    "job": ("rows", make_events, measure_job),
    "audio": ("frames", make_audio, measure_audio),
    "genome": ("bases", make_genome, measure_genome),
}


# The table


def _run(name: str, share: float, folder: Path) -> tuple[Measured, int]:
    """A case in a process of its own; what it found, and the file's size."""
    path = folder / f"{name}.data"
    began = time.perf_counter()
    CASES[name][1](path, share)
    size = sum(file.stat().st_size for file in (path.rglob("*.*") if path.is_dir() else [path]))
    print(f"{name}: made {size / 1e6:,.0f} MB in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    surroundings = {**os.environ, "RONDEAU_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "benchmarks.scale", "--measure", name, "--folder", str(folder)]
    try:
        done = subprocess.run(command, env=surroundings, stdout=subprocess.PIPE, text=True, check=True)
    finally:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.rmtree(folder / "cache", ignore_errors=True)
    return Measured(*json.loads(done.stdout.splitlines()[-1])), size


def _line(name: str, found: Measured, size: int) -> str:
    unit = CASES[name][0]
    padding = "" if found.padding is None else f"{found.padding:.1%}"
    cells = [
        name,
        f"{size / 1e6:,.0f} MB, {found.units:,} {unit}",
        f"{found.prepare:.1f} s, {found.units / found.prepare:,.0f}/s",
        f"{found.fed:,.0f}/s",
        f"{found.stepped:,.0f}/s",
        padding,
        f"{(found.peak - found.before) / 1e6:,.0f} MB above {found.before / 1e6:,.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the full sizes")
    parser.add_argument("--folder", type=Path, help="where the files are made (default: the system's for such)")
    parser.add_argument("--cases", default=",".join(CASES), help="which of them")
    parser.add_argument("--measure", choices=CASES, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(CASES[asked.measure][2](asked.folder / f"{asked.measure}.data")))
        return
    print("| data | size | prepared once | fed | learnt from | padding | peak memory |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        for name in asked.cases.split(","):
            for share in (asked.share / 10, asked.share):
                print(_line(name, *_run(name, share, Path(folder))), flush=True)


if __name__ == "__main__":
    main()

"""Splice sites: 140 bases with an exon's end, an intron's end, or neither; ten folds, each class in the same shares.

Sequences that are equal are in one fold. Of the nine folds that are learnt from, a tenth chooses the best epoch.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results.seeds import parser_of, table
from rondeau.data.dna.store import SequenceStore
from rondeau.data.splits import split_rows
from rondeau.tasks.dna.classification import DnaClassification
from rondeau.tasks.dna.divide import sequence_keys
from rondeau.tasks.dna.examples import Sequences
from rondeau.tasks.dna.settings import ClassificationSettings
from rondeau.tasks.job import Data


class Folds(DnaClassification):
    """The job on one fold of ten."""

    def __init__(self, fold: int, folds: int, by_gene: bool) -> None:
        self.fold, self.folds, self.by_gene = fold, folds, by_gene

    def read(self, settings: ClassificationSettings) -> Data:
        data = super().read(settings)
        store: SequenceStore = data.train.store
        keys: Any = sequence_keys(store, False)
        if self.by_gene:  # the accession number, with which a sequence's name begins
            keys = [store.id(row).split()[0] for row in range(len(store))]
        numbers = fold_numbers(store, keys, self.folds)
        test, rest = np.flatnonzero(numbers == self.fold), np.flatnonzero(numbers != self.fold)
        own = [keys[row] for row in rest]
        inside = split_rows(own, 0.1, 0.0, settings.seed, [store.labels[row] for row in rest])
        if self.by_gene:  # equal sequences of two genes
            rest = rest[~np.isin(store.keys[rest], store.keys[test])]
            own = [keys[row] for row in rest]
            inside = split_rows(own, 0.1, 0.0, settings.seed, [store.labels[row] for row in rest])
        rows = rest[inside.train], rest[inside.validation], test
        data.train, data.validation, data.test = (Sequences(store, part) for part in rows)
        return data


def fold_numbers(store: SequenceStore, keys: Any, folds: int) -> Any:
    """The fold of each sequence: keys are drawn one fold after another, each class alike."""
    rows, numbers = np.arange(len(store)), np.full(len(store), -1)
    for fold in range(folds - 1):
        left = rows[numbers < 0]
        own, labels = [keys[row] for row in left], [store.labels[row] for row in left]
        numbers[left[split_rows(own, 0.0, 1 / (folds - fold), fold, labels).test]] = fold
    numbers[numbers < 0] = folds - 1
    return numbers


def results_of(
    path: str, folds: int, run: range, by_gene: bool, changes: dict[str, Any]
) -> Iterator[tuple[Any, float]]:
    """Of each fold the results and the seconds."""
    for fold in run:
        begun, job = time.perf_counter(), Folds(fold, folds, by_gene)
        with tempfile.TemporaryDirectory() as folder:
            settings = replace(ClassificationSettings(), path=path, seed=fold, insight=False, device="cpu", **changes)
            work = job.begin(settings, Path(folder) / "run")
            job.fit(work, lambda steps, speed: [])
            results = job.conclude(work, lambda steps, speed: [])
        seconds = time.perf_counter() - begun
        accuracies = ", ".join(f"{row.name} {row.scores['accuracy']:.2%}" for row in results.rows[1:])
        print(f"fold {fold}: {accuracies}, {seconds:.0f} s", file=sys.stderr, flush=True)
        yield results, seconds


def main() -> None:
    """Print the rows."""
    parser = parser_of(__doc__)
    parser.add_argument("--folds", type=int, default=10, help="how many there are")
    parser.add_argument("--first", type=int, default=0, help="the first that is run")
    parser.add_argument("--run", type=int, help="how many of them are run (default: all)")
    parser.add_argument("--by-gene", action="store_true", help="sequences of one accession number are in one fold")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another setting of the job")
    asked = parser.parse_args()
    known = ClassificationSettings()
    changes = {name: type(getattr(known, name))(value) for name, value in (one.split("=") for one in asked.set)}
    path = str(asked.data / "splice140" / "splice140.csv")
    run = range(asked.first, asked.folds if asked.run is None else asked.first + asked.run)
    found = list(results_of(path, asked.folds, run, asked.by_gene, changes))
    command = " ".join(["python -m benchmarks.results.splice140", *sys.argv[1:]])
    print(table("splice140", found, ["accuracy", "mcc", "auroc"], command, "Folds"))
    own = [one.own.scores["accuracy"] for one, _ in found]
    if len(own) > 1:
        print(f"accuracy: mean {statistics.fmean(own):.2%}, standard deviation over folds {statistics.stdev(own):.2%}")


if __name__ == "__main__":
    main()

"""What can be told of a sequence without reading it in order: counts of k-mers, weights by place, short memories."""

from __future__ import annotations

import importlib
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rondeau.errors import MissingExtraError
from rondeau.tasks.class_scores import Chances, Ids
from rondeau.tasks.dna.examples import Sequences
from rondeau.tasks.dna.reading import kmers

ORDERS = range(0, 7)  # of Markov chains that are tried
LARGEST = 5  # letters of the longest k-mers that are counted, of proteins 2
STRENGTHS = (0.003, 0.03, 0.3)
_MOST_ROWS = 50_000  # that a logistic regression learns from


class Baseline(NamedTuple):
    """A name, how many numbers it holds, and the chance of each class for each test sequence."""

    name: str
    parameters: int | None
    chances: Chances


class Known(NamedTuple):
    """Sequences with their classes: to learn from, to choose by, and to be judged on; `classes`: how many."""

    train: Sequences
    y: Ids
    validation: Sequences
    held: Ids
    test: Sequences
    classes: int


def majority(known: Known) -> Baseline:
    """The share of each class, whatever is read."""
    share = np.bincount(known.y, minlength=known.classes) / len(known.y)
    return Baseline("majority", None, np.tile(share, (len(known.test), 1)))


def kmer_counts(known: Known, seed: int) -> Baseline:
    """Logistic regression on the shares of k-mers of all lengths up to 5 (of amino acids 2); strength by validation.

    Raises `MissingExtraError` without scikit-learn.
    """
    try:
        linear = importlib.import_module("sklearn.linear_model")
        scaling = importlib.import_module("sklearn.preprocessing")
        pipes = importlib.import_module("sklearn.pipeline")
    except ImportError as error:
        fix = "Install it: pip install 'rondeau[bio]'"
        raise MissingExtraError("the baselines need scikit-learn", fix=fix) from error
    longest = LARGEST if known.train.store.alphabet.size == 4 else 2
    rows = np.arange(len(known.y))
    if len(rows) > _MOST_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, _MOST_ROWS, replace=False))
    train = Sequences(known.train.store, known.train.rows[rows])
    x, held, test = (_shares(part, longest) for part in (train, known.validation, known.test))
    best: tuple[float, Any] | None = None
    for strength in STRENGTHS:
        model = pipes.make_pipeline(
            scaling.StandardScaler(), linear.LogisticRegression(C=strength, max_iter=60, random_state=seed)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # near enough after 60 rounds
            model.fit(x, known.y[rows])
        right = float((model.predict(held) == known.held).mean()) if len(known.held) else 0.0
        if best is None or right > best[0]:
            best = right, model
    assert best is not None
    last = best[1][-1]
    chances = np.zeros((len(known.test), known.classes))
    chances[:, last.classes_] = best[1].predict_proba(test)
    name = f"counts of k-mers up to {longest} + logistic regression"
    return Baseline(name, int(last.coef_.size + last.intercept_.size), chances)


def _shares(sequences: Sequences, longest: int) -> NDArray[np.float32]:
    size = sequences.store.alphabet.size
    found = np.zeros((len(sequences), sum(size**k for k in range(1, longest + 1))), np.float32)
    for place, row in enumerate(sequences.rows.tolist()):
        codes, at = sequences.store.read(row), 0
        for k in range(1, longest + 1):
            counts = np.bincount(kmers(codes, size, k), minlength=size**k + 1)[:-1]
            found[place, at : at + size**k] = counts / max(counts.sum(), 1)
            at += size**k
    return found


def weight_matrix(known: Known) -> Baseline | None:
    """Of each class the share of each letter at each place, one added to every count; None for unlike lengths.

    Stormo, Schneider, Gold & Ehrenfeucht (1982), Use of the 'Perceptron' algorithm to distinguish translational
    initiation sites in E. coli; Stormo (2000), DNA binding sites: representation and discovery.
    """
    lengths = np.concatenate([known.train.lengths, known.test.lengths])
    if len(set(lengths.tolist())) != 1:
        return None
    letters = known.train.store.alphabet.chances
    length, size = int(lengths[0]), letters.shape[1]
    counts = np.ones((known.classes, length, size))
    for row, label in zip(known.train.rows.tolist(), known.y.tolist(), strict=True):
        counts[label] += letters[known.train.store.read(row)]
    weights = np.log(counts / counts.sum(2, keepdims=True))
    prior = np.log(np.maximum(np.bincount(known.y, minlength=known.classes), 0.5) / len(known.y))
    scores = np.stack([(weights * letters[known.test.store.read(row)]).sum((1, 2)) for row in known.test.rows.tolist()])
    return Baseline("weight matrix (a letter's share at each place)", counts.size, _normal(scores + prior))


def markov_chains(known: Known) -> Baseline:
    """Of each class a Markov chain over letters; its order, up to 6 (proteins 2), is chosen on the validation part."""
    size = known.train.store.alphabet.size
    orders = [order for order in ORDERS if size ** (order + 1) <= 20_000]
    prior = np.log(np.maximum(np.bincount(known.y, minlength=known.classes), 0.5) / len(known.y))
    best: tuple[float, int, list[NDArray[np.float64]]] | None = None
    for order in orders:
        tables = _chains(known, order)
        right = float((_scored(known.validation, tables, order, prior).argmax(1) == known.held).mean())
        if best is None or right > best[0]:
            best = right, order, tables
    assert best is not None
    _, order, tables = best
    chances = _normal(_scored(known.test, tables, order, prior))
    return Baseline(f"Markov chain of order {order} for each class", sum(table.size for table in tables), chances)


def _chains(known: Known, order: int) -> list[NDArray[np.float64]]:
    """Of each class the logarithm of each letter's chance after each context, `(contexts * letters + 1,)`."""
    size = known.train.store.alphabet.size
    counts = np.zeros((known.classes, size ** (order + 1) + 1))
    for row, label in zip(known.train.rows.tolist(), known.y.tolist(), strict=True):
        counts[label] += np.bincount(kmers(known.train.store.read(row), size, order + 1), minlength=counts.shape[1])
    found = []
    for own in counts:
        table = own[:-1].reshape(-1, size) + 0.5
        logs = np.log(table / table.sum(1, keepdims=True)).ravel()
        found.append(np.append(logs, 0.0))  # what is ambiguous says nothing
    return found


def _scored(sequences: Sequences, tables: list[Any], order: int, prior: NDArray[np.float64]) -> NDArray[np.float64]:
    size = sequences.store.alphabet.size
    found = np.zeros((len(sequences), len(tables)))
    for place, row in enumerate(sequences.rows.tolist()):
        ids = kmers(sequences.store.read(row), size, order + 1)
        found[place] = [table[ids].sum() for table in tables]
    return found + prior


def _normal(scores: NDArray[np.float64]) -> Chances:
    shares = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True))

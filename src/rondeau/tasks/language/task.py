"""The language model as a task like the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rondeau.data.tables.rows import read_head
from rondeau.data.texts.layouts import guess_text
from rondeau.data.texts.text import read_text
from rondeau.data.texts.text_lines import suffix_of
from rondeau.data.texts.word_tokenizer import WordTokenizer
from rondeau.errors import ArgumentError, DataError
from rondeau.insight.results import Results, Row
from rondeau.models.language_model import generate
from rondeau.tasks.advice import check_run
from rondeau.tasks.language import training as model_of
from rondeau.tasks.language.inspect import inspect
from rondeau.tasks.language.judging import METRIC, PERPLEXITY, STRETCHES, model_bits, scores
from rondeau.tasks.language.training import Corpus, Settings
from rondeau.tasks.look import Look
from rondeau.tasks.run_folder import RunFolder
from rondeau.tasks.task import Task, View, Work


class LanguageModel(Task[Settings]):
    """What comes next in a text."""

    name, title, settings, steps = "language_model", "language model", Settings, "tokens"
    demo = "the documentation inside your Python"

    def guess(self, path: Path) -> str | None:
        if path.is_file() and suffix_of(path) in (".txt", ".text", ".md", ".rst", ".tex", ".log", ".py", ""):
            return "it is a plain text without labels"
        if model_of.is_table(path):
            return _text_column(path)
        if path.is_dir() and any(suffix_of(file) == ".txt" for file in path.rglob("*.*")):
            return "it is a folder of plain texts without labels"
        return None

    def begin(self, settings: Settings, out: Path, overwrite: bool = False) -> Work[Settings]:
        run, corpus = model_of.begin(settings, out, overwrite)
        return Work(run, settings, corpus, corpus.tokenizer)

    def reopen(self, run: RunFolder) -> Work[Settings]:
        run, settings, corpus = model_of.reopen(run.path)
        return Work(run, settings, corpus, corpus.tokenizer)

    def describe(self, work: Work[Settings]) -> list[str]:
        corpus: Corpus = work.data
        sizes = ", ".join(f"{count:,} {name}" for name, count in corpus.characters.items())
        line = f"{corpus.name}: {sizes} characters, {corpus.tokenizer.size} tokens in the vocabulary"
        return [line, *corpus.notes, *([corpus.note] if corpus.note else [])]

    def fit(self, work: Work[Settings], view: View) -> bool:
        return model_of.fit(work.run, work.settings, work.data, view)

    def conclude(self, work: Work[Settings], view: View) -> Results:
        results = model_of.compare(work.run, work.settings, work.data, view)
        model_of.write_samples(work.run, work.settings, work.data)
        if work.settings.insight:
            check_run(work.run, work.data.ids[1], work.settings.device)
            work.run.write_json(work.run.inspected, inspect(work.run, Look()))
        return results

    def sample(self, work: Work[Settings]) -> tuple[str, str] | None:
        text = work.run.samples.read_text(encoding="utf-8").split("-" * 72)[1].split("\n\n", 1)[1].strip("\n")
        return "a sample at temperature 0.8, from the bar on", text

    def evaluate(self, run: RunFolder, path: str, device: str) -> Results:
        tokenizer, model = run.tokenizer(), run.load_model()
        text = model_of.join(read_text(path))
        ids = tokenizer.encode(text)
        if len(ids) < 2:
            raise DataError("the text is too short to predict anything", expected="2 tokens or more", got=len(ids))
        bits = model_bits(model, ids, device)
        unknown = 0 if tokenizer.unknown is None else int((ids == tokenizer.unknown).sum())
        what = "words" if isinstance(tokenizer, WordTokenizer) else "characters"
        one = what.removesuffix("s")
        notes = [STRETCHES]
        if unknown:
            notes.insert(0, f"{unknown:,} {what} are not in the run's vocabulary; each counts as the unknown {one}")
        row = Row(self.name, model.count_params(), *scores(bits, len(text) / len(ids)))
        metrics = [PERPLEXITY] if isinstance(tokenizer, WordTokenizer) else [METRIC, PERPLEXITY]
        return Results(metrics, [row], f"{len(text):,} characters of {path}", notes)

    def write(
        self,
        run: RunFolder,
        prompt: str,
        length: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> Iterator[str]:
        tokenizer, model = run.tokenizer(), run.load_model()
        ids = model_of.prompt_ids(tokenizer, prompt)
        forbidden = [] if tokenizer.unknown is None else [tokenizer.unknown]
        decoder = tokenizer.decode_stream()
        yield prompt
        for token in generate(model, ids, length, temperature, top_k, top_p, seed, forbidden):
            yield decoder.push(token)
        yield decoder.flush()

    def instead(self) -> str:
        return "Let it write: rondeau generate RUN --prompt TEXT"

    def inspect(self, run: RunFolder, look: Look) -> dict[str, Any]:
        return inspect(run, look)


def _text_column(path: Path) -> str | None:
    """Why a table looks like texts, if it does."""
    try:
        column, reason = guess_text(read_head(path), path)
    except (DataError, ArgumentError):
        return None
    return f"it is a table with texts, and no labels, in its column {column!r}: {reason}"

"""Documents divided: nothing that is held out was seen in training."""

from __future__ import annotations

import numpy as np
import pytest

from rondeau.data.texts.documents import Document
from rondeau.errors import DataError
from rondeau.tasks.texts.divide import divide
from rondeau.tasks.texts.examples import DocumentStore


def stored(*documents: Document) -> DocumentStore:
    store = DocumentStore()
    for document in documents:
        store.add(document)
    return store


def texts(store: DocumentStore, rows: np.ndarray) -> set[str]:  # type: ignore[type-arg]
    return {" ".join(store[row].text.lower().split()) for row in rows}


def test_equal_documents_stay_together() -> None:
    words = [f"text {i}" for i in range(40)]
    store = stored(*(Document(word, "ab"[i % 2]) for i, word in enumerate(words)))
    again = [Document(f"  {word.upper()} ", "ab"[i % 2]) for i, word in enumerate(words)]
    for document in again:
        store.add(document)
    parts, notes = divide(store, 0.2, 0.2, seed=0)
    train, validation, test = (texts(store, rows) for rows in parts)
    assert not train & validation
    assert not train & test
    assert not validation & test
    assert [len(rows) for rows in parts] == [48, 16, 16]
    assert "40 documents repeat others; equal ones are kept in one part" in notes
    _, notes = divide(stored(*(Document(f"t {i // 2}", "ab"[i % 2]) for i in range(20))), 0.1, 0.1, 0)
    assert "10 texts stand there with different classes, such as 't 0'" in notes


def test_groups_stay_together_and_equal_documents_do_not_bind_them() -> None:
    documents = [Document(f"text {i}", "ab"[i % 2], f"author {i // 4}") for i in range(80)]
    documents += [Document("Thanks!", "ab"[i % 2], f"author {i}") for i in range(20)]
    store = stored(*documents)
    parts, notes = divide(store, 0.2, 0.2, seed=1)
    where = {row: part for part, rows in enumerate(parts) for row in rows.tolist()}
    for i in range(20):
        assert len({where[row] for row in [*range(4 * i, 4 * i + 4), 80 + i] if row in where}) == 1
    train, validation, test = (texts(store, rows) for rows in parts)
    assert "thanks!" in test
    assert "thanks!" not in train | validation
    assert [len(rows) for rows in parts] == [48, 16, 20]
    assert "divided by group: 20 groups" in notes
    told = "12 documents of the train part that stand in the test part, too (such as 'Thanks!'): left out of the train"
    assert any(note.startswith(told) for note in notes)


def test_groups_in_parts_that_are_given() -> None:
    documents = [Document(f"t {i}", "ab"[i % 2], f"author {i // 4}", "train") for i in range(40)]
    documents += [Document("new", "a", "author 3", "test"), Document("newer", "a", "author 99", "test")]
    parts, notes = divide(stored(*documents), 0.2, 0.1, seed=0)
    assert parts.test.tolist() == [40, 41]
    assert not set(range(12, 16)) & {*parts.train, *parts.validation}
    assert any("4 documents of the train part of groups that are in the test part" in note for note in notes)
    authors = [{row // 4 for row in part.tolist()} for part in (parts.train, parts.validation)]
    assert not authors[0] & authors[1]


def test_parts_that_are_given_are_kept_without_leaks() -> None:
    train = [Document(f"t {i}", "ab"[i % 2], part="train") for i in range(30)]
    test = [Document(text, "a", part="test") for text in ("t 3", "new", "T 4 ")]
    store = stored(*train, *test)
    parts, notes = divide(store, 0.2, 0.1, seed=0)
    assert parts.test.tolist() == [30, 31, 32]
    assert len(parts.train) + len(parts.validation) == 28
    assert not set(parts.train) & {3, 4}
    assert not set(parts.validation) & {3, 4}
    assert (
        "2 documents of the train part that stand in the test part, too (such as 't 3'): left out of the train part"
        in notes
    )
    assert "there is no validation part: it is drawn from the training part" in notes
    all_three = stored(*train, *test, Document("t 5", "b", part="validation"), Document("new", "b", part="validation"))
    parts, notes = divide(all_three, 0.2, 0.1, seed=0)
    assert parts.validation.tolist() == [33]
    assert set(parts.train) == set(range(30)) - {3, 4, 5}


def test_classes_that_cannot_be_learnt() -> None:
    with pytest.raises(DataError, match=r"one class only.*got 2 documents of 'a'"):
        divide(stored(Document("x", "a"), Document("y", "a")), 0.1, 0.1, 0)
    with pytest.raises(DataError, match=r"nearly every document has a class of its own.*--label-column"):
        divide(stored(*(Document(f"x {i}", str(i)) for i in range(60))), 0.1, 0.1, 0)
    with pytest.raises(DataError, match="there are no documents"):
        divide(stored(), 0.1, 0.1, 0)
    _, notes = divide(stored(*(Document(f"x {i}", "a" if i else "b") for i in range(60))), 0.1, 0.1, 0)
    assert "classes with fewer than ten documents: 'b'" in notes

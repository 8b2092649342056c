"""The text that every Python carries: the documentation behind `help()`, as the default corpus."""

from __future__ import annotations

import importlib
import logging
import platform

from rondeau.data.texts.text import Document, repeats
from rondeau.errors import DataError

logger = logging.getLogger(__name__)


def default_corpus_name() -> str:
    """What the default corpus is called in tables and reports; the text differs a little from Python to Python."""
    return f"the Python {platform.python_version()} documentation (pydoc_data.topics)"


def default_corpus() -> list[Document]:
    """The topics of `pydoc_data.topics`, one document each, sorted by name: some 370,000 characters in Python 3.11.

    Many topics are sections of larger ones ("try" stands whole in "compound"). A topic with at least half of its text
    in a longer one is left out: held-out text must not be found in the training text. The name, the size and the topics
    left out are logged.

    Raises `DataError` where this Python comes without `pydoc_data`.
    """
    try:
        topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    except ImportError as error:
        raise DataError(
            "this Python comes without its documentation text",
            expected="the standard module pydoc_data.topics",
            fix="Give the path of a text file or folder to train on",
        ) from error
    everything = [Document(name, topics[name]) for name in sorted(topics)]
    parents = repeats(everything)
    documents = [everything[i] for i, parent in enumerate(parents) if parent is None]
    sections = [everything[i].name for i, parent in enumerate(parents) if parent is not None]
    logger.info(
        "%s: %d documents, %d characters; left out as sections of others: %s",
        default_corpus_name(),
        len(documents),
        sum(len(document.text) for document in documents),
        ", ".join(sections),
    )
    return documents

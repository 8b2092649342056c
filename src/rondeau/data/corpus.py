"""The text that every Python carries: the documentation behind `help()`, as the default corpus."""

from __future__ import annotations

import importlib
import logging
import platform

from rondeau.data.text import Document, repeats
from rondeau.errors import DataError

logger = logging.getLogger(__name__)

NAME = "the Python {version} documentation (pydoc_data.topics)"


def default_corpus_name() -> str:
    """What the default corpus is called in tables and reports; the text differs a little from Python to Python."""
    return NAME.format(version=platform.python_version())


def default_corpus() -> list[Document]:
    """The topics of `pydoc_data.topics`, one document each, sorted by name; about 350,000 characters of real English.

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
            fix="give the path of a text file or folder to train on",
        ) from error
    everything = [Document(name, topics[name]) for name in sorted(topics)]
    parents = repeats(everything)
    documents = [document for document, parent in zip(everything, parents) if parent is None]
    logger.info(
        "%s: %d documents, %d characters; left out as sections of others: %s",
        default_corpus_name(),
        len(documents),
        sum(len(document.text) for document in documents),
        ", ".join(document.name for document, parent in zip(everything, parents) if parent is not None),
    )
    return documents

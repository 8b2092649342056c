"""Where transcribed recordings come from: a manifest, file names, or a text file beside each sound file."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rondeau.data.audio.find import COLUMNS, PARTS, find_audio, has_paths, manifest_in, sound_files
from rondeau.data.audio.index import AudioIndex, Recording, indexed
from rondeau.data.audio.read import SUFFIXES
from rondeau.data.faults import Faults
from rondeau.data.tables.rows import TABLES, read_head
from rondeau.data.texts.text_lines import suffix_of
from rondeau.errors import DataError
from rondeau.tasks.recognition.alphabet import plain, repeats
from rondeau.tasks.recognition.settings import RecognitionSettings

_LOOKED_AT = 400  # files of a folder


def find_speech(path: str, settings: RecognitionSettings, faults: Faults) -> AudioIndex:
    """The recordings of a manifest or folder that have a transcript.

    In a folder without a manifest the transcript of `anna/3.wav` is the text of `anna/3.txt`, its speaker `anna`, and
    in `test/anna/3.wav` it is of the test part. A recording without a transcript goes through `faults`. Raises
    `DataError` where none has any.
    """
    root = Path(path)
    if root.is_dir() and settings.pattern is None and manifest_in(root) is None and has_texts_beside(root):
        files = sound_files(root)
        recordings = _beside(root, files, faults)
        notes = ["the transcript of each recording is the text file of its name"]
        index = indexed(recordings, root, faults, settings.listen, len(files), notes)
    else:
        columns = {} if settings.group in (None, "none", "speaker") else {"speaker": str(settings.group)}
        index = find_audio(path, settings.pattern, faults, settings.listen, columns)
    there = [number for number in range(len(index)) if plain(index[number].text or "", settings.lower)]
    if not there:
        fix = "Give a manifest with the columns `path` and `text`, or a .txt beside each sound file"
        raise DataError("no recording has a transcript", got=f"{len(index):,} recordings", where=path, fix=fix)
    for number in sorted(set(range(len(index))) - set(there)):
        faults.add("a recording has no transcript", where=index.where(number))
    return index if len(there) == len(index) else index.take(there)


def alignable(index: AudioIndex, settings: RecognitionSettings, faults: Faults) -> AudioIndex:
    """The recordings whose transcripts CTC can align with their steps; each other goes through `faults`, named."""
    if settings.head != "ctc":
        return index
    frames = np.maximum(1 + ((index.seconds - settings.window) / settings.hop + 1e-6).astype(np.int64), 1)
    steps = -(-frames // settings.stride)
    kept = []
    for number, there in enumerate(steps.tolist()):
        text = plain(index[number].text or "", settings.lower)
        needed = len(text) + repeats(text)
        if needed <= there:
            kept.append(number)
            continue
        faults.add(
            "a transcript is longer than CTC can align with its recording",
            expected=f"{needed} steps for {text[:40]!r}, a blank between characters that repeat",
            got=f"{there} steps in {index[number].seconds:.2f} s",
            where=index.where(number),
            fix="Use a smaller --stride or --hop, or --head transducer",
        )
    if not kept:
        raise DataError("no transcript can be aligned with its recording", got=f"{len(index):,} recordings")
    return index if len(kept) == len(index) else index.take(kept)


def looks_like_speech(path: Path) -> str | None:
    """Why data look like transcribed recordings; None where they do not."""
    if path.is_dir():
        manifest = manifest_in(path)
        if manifest is None:
            return "text files lie beside its sound files" if has_texts_beside(path) else None
        path = manifest
    elif suffix_of(path) not in TABLES or not has_paths(path):
        return None
    there = {str(name).lower() for name in read_head(path).columns}
    return f"{path.name} lists sound files and their transcripts" if there & set(COLUMNS["text"]) else None


def has_texts_beside(root: Path) -> bool:
    """Whether sound files in a folder have text files of their names; looks at the first some hundred."""
    names = (
        (folder, name)
        for folder, folders, found in os.walk(root)
        for name in (folders.sort(), sorted(found))[1]
        if os.path.splitext(name)[1].lower() in SUFFIXES
    )
    some = list(itertools.islice(names, _LOOKED_AT))
    texts = sum(os.path.exists(os.path.join(folder, os.path.splitext(name)[0] + ".txt")) for folder, name in some)
    return texts > len(some) // 2


def _beside(root: Path, files: list[str], faults: Faults) -> Iterator[Recording]:
    divided = all(file.split("/", 1)[0].lower() in PARTS and "/" in file for file in files)
    for file in files:
        folders = file.split("/")[:-1]
        part = PARTS[folders[0].lower()] if divided else None
        speaker = folders[int(divided)] if len(folders) > divided else None
        text = (root / file).with_suffix(".txt")
        try:
            said = text.read_text(encoding="utf-8-sig") if text.exists() else None
        except UnicodeDecodeError as error:
            faults.add("a transcript is no UTF-8", where=str(text.relative_to(root)), got=error.reason)
            continue
        yield Recording(root / file, text=said, speaker=speaker, part=part)

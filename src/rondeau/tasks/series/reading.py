"""Where labelled series come from: `.ts` files, long tables, those that the package makes; and how they are divided."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rondeau.data.faults import Faults
from rondeau.data.made.series import made_gestures, made_pulses
from rondeau.data.series.ts import Series, own_split, read_ts, ts_files
from rondeau.data.splits import shared, split_rows
from rondeau.data.tables.roles import Roles
from rondeau.errors import ArgumentError, DataError


@dataclass
class Found:
    """Series as they were read: `train` and `test` where the data have a division of their own, else all in `train`.

    `groups`: of each series in `train` what it belongs to. `names`: what series are called, by place. `classes`: in the
    data's own order, None where they have none. `channels`: their names, None where they have none.
    `roles`: of a table's columns, None without one.
    """

    name: str
    train: list[Series]
    test: list[Series] | None = None
    groups: list[str] | None = None
    classes: tuple[str, ...] | None = None
    channels: list[str] | None = None
    roles: Roles | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Wanted:
    """Columns of a table that were asked for; None, or no channels: recognised."""

    series: str | None = None
    time: str | None = None
    label: str | None = None
    channels: tuple[str, ...] = ()
    group: str | None = None
    encoding: str = "utf-8"


def find_series(
    path: str | None, wanted: Wanted, faults: Faults, seed: int = 0, labelled: bool = True, targets: bool = False
) -> Found:
    """Series from a `.ts` file, a folder with NAME_TRAIN.ts and NAME_TEST.ts, or a table; None: made ones.

    `labelled`: whether each needs a class, or, with `targets`, a number; classes that are numbers stay words here.
    Raises `DataError` for data that are missing or cannot be read.
    """
    if path is None:
        if targets:
            return Found("made pulses", made_pulses(seed=seed))
        return Found("made gestures", made_gestures(seed=seed))
    root = Path(path)
    if not root.exists():
        raise DataError("no such file or folder", expected="a .ts file, a table, or a folder of them", got=path)
    pair = own_split(root) if labelled else None
    files = [pair[0]] if pair else ts_files(root)
    if not files:
        return _of_table(root, wanted, faults, labelled)
    if wanted.group or wanted.series or wanted.label:
        fix = "Leave --group, --series and --label out: a line of a .ts file is a series and its class"
        raise ArgumentError(".ts files have no columns", where=path, fix=fix)
    train: list[Series] = []
    header = None
    for file in files:
        header, part = read_ts(file, faults, labelled)
        train += part
        if labelled and header.regression and not targets:
            fix = "A number for each series: --task series_regression, or rondeau.estimators.SequenceRegressor"
            raise DataError("the file holds targets, and no classes", where=file, fix=fix)
    classes = None if header is None else header.classes
    name = header.name if header else root.name
    if pair is None:
        return Found(name, train, classes=classes)
    test = read_ts(pair[1], faults, labelled)[1]
    notes = [f"the data's own division: {pair[0].name} to learn from, {pair[1].name} to test"]
    return Found(name, train, test, classes=classes, notes=notes)


def _of_table(root: Path, wanted: Wanted, faults: Faults, labelled: bool) -> Found:
    from rondeau.data.series.labelled import series_of
    from rondeau.data.tables.table import read_table

    w = wanted
    table = read_table(root, faults, encoding=w.encoding)
    made = series_of(table, faults, w.series, w.time, w.label, w.channels, w.group, labelled)
    told = {"groups": made.groups, "channels": made.channels, "roles": made.roles, "notes": made.notes}
    return Found(root.name, made.series, **told)  # type: ignore[arg-type]


def divide(
    found: Found, validation: float, test: float, seed: int, faults: Faults
) -> tuple[list[Series], list[Series], list[Series]]:
    """Training, validation and test part, each class in the same shares; series of one group, and identical ones, stay
    together. A test part of the data's own stays what it is.

    A series of such a test part that the training part has as well has leaked, and goes through `faults`: where these
    are skipped, the copy in the training part is left out.
    """
    train, held = found.train, found.test
    if held is not None:
        known = {one.digest(): one.where for one in train}
        leaks = shared(known, [one.digest() for one in held])
        for digest in leaks:
            what = "a series of the test part is in the training part as well"
            faults.add(what, where=known[digest], fix="Take it out of one of them")
        train = [one for one in train if one.digest() not in set(leaks)]
    labels = [one.label for one in train]
    groups = found.groups or [one.digest() for one in train]
    keys = _together(groups, train)
    parts = split_rows(keys, validation, 0.0 if held is not None else test, seed, labels)
    own = [[train[row] for row in part] for part in parts]
    return own[0], own[1], own[2] if held is None else held


def _together(groups: Sequence[str], series: Sequence[Series]) -> list[str]:
    """Keys by which groups that hold an identical series are one."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        while parent.setdefault(key, key) != key:
            key = parent[key]
        return key

    for group, one in zip(groups, series, strict=True):
        mine, other = root(f"group {group}"), root(f"series {one.digest()}")
        if mine != other:
            parent[max(mine, other)] = min(mine, other)
    return [root(f"group {group}") for group in groups]


def digest_of(parts: Sequence[Sequence[Series]]) -> str:
    """Tells these series, their labels and their division from others."""
    whole = hashlib.blake2b(digest_size=16)
    for part in parts:
        for one in part:
            whole.update(f"{one.digest()} {one.label if one.target is None else one.target}".encode())
        whole.update(b"|")
    return whole.hexdigest()

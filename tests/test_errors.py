from __future__ import annotations

import copy
import pickle

import pytest

from rondeau import errors

FAMILY = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.RondeauError)]


@pytest.mark.parametrize("kind", FAMILY)
def test_every_error_is_one_family_and_survives_pickling(kind: type[errors.RondeauError]) -> None:
    error = kind("it is wrong", expected=3, got=(4, 5), where="row 6", fix="Put it right")
    text = "it is wrong (at row 6): expected 3, got (4, 5). Put it right."
    assert str(error) == text
    for again in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(again) is kind
        assert str(again) == text
        assert (again.what, again.expected, again.got, again.where, again.fix) == (
            "it is wrong",
            3,
            (4, 5),
            "row 6",
            "Put it right",
        )


def test_parts_that_are_missing_leave_no_trace() -> None:
    assert str(errors.DataError("it is wrong")) == "it is wrong."
    assert str(errors.DataError("it is wrong", got=0)) == "it is wrong: got 0."
    assert str(errors.DataError("it is wrong", fix="Was it ever right?")) == "it is wrong. Was it ever right?"


def test_errors_are_what_python_programs_expect() -> None:
    assert issubclass(errors.ShapeError, ValueError)
    assert issubclass(errors.NotBuiltError, RuntimeError)
    assert issubclass(errors.MissingExtraError, ImportError)

"""The one family of errors. Each says what is wrong, what was expected, what came, where, and how to put it right."""

from __future__ import annotations


class RondeauError(Exception):
    """Base of every error Rondeau raises on purpose.

    Args:
        what: what is wrong, in one clause, without a full stop.
        expected: what would have been right.
        got: what came instead.
        where: the place: a layer's name, a file and byte, an array's position.
        fix: what the user can do about it, as a sentence without a full stop.

    The parts stay readable as attributes of the same names.

    >>> str(RondeauError("the rate is too large", expected="0 to 1", got=2, where="layer dropout", fix="Divide by 100"))
    'the rate is too large (at layer dropout): expected 0 to 1, got 2. Divide by 100.'
    """

    def __init__(
        self,
        what: str,
        *,
        expected: object = None,
        got: object = None,
        where: object = None,
        fix: str | None = None,
    ) -> None:
        self.what, self.expected, self.got, self.where, self.fix = what, expected, got, where, fix
        super().__init__(what)

    def __str__(self) -> str:  # made from the parts, so that it survives pickling, as between a DataLoader's processes
        return _message(self.what, self.expected, self.got, self.where, self.fix)


def _message(what: str, expected: object, got: object, where: object, fix: str | None) -> str:
    details = [f"{word} {value}" for word, value in (("expected", expected), ("got", got)) if value is not None]
    text = what + (f" (at {where})" if where is not None else "")
    if details:
        text += ": " + ", ".join(details)
    if not fix:
        return text + "."
    return f"{text}. {fix}" + ("" if fix[-1] in ".?!" else ".")


class ArgumentError(RondeauError, ValueError):
    """An argument that has no meaning here, or a value outside its range."""


class ShapeError(RondeauError, ValueError):
    """A tensor of the wrong rank or size."""


class DataError(RondeauError, ValueError):
    """Data that cannot be read or does not fit: files, token ids, labels, lengths."""


class StateError(RondeauError, ValueError):
    """A recurrent state of the wrong kind, names, sizes or batch."""


class EngineError(RondeauError, RuntimeError):
    """A cell's step that cannot be compiled, where nothing slower was allowed."""


class NotBuiltError(RondeauError, RuntimeError):
    """A layer is used before its weights exist."""


class NotCompiledError(RondeauError, RuntimeError):
    """A model is trained or evaluated before `compile`."""


class NumericsError(RondeauError, ArithmeticError):
    """A loss or gradient is NaN or infinite."""


class SaveError(RondeauError, ValueError):
    """An object that cannot be written down without pickling it."""


class CheckpointError(RondeauError, ValueError):
    """A saved model, checkpoint or run folder that is missing, damaged, foreign or too new."""


class MissingExtraError(RondeauError, ImportError):
    """A feature whose optional dependency is not installed; the fix names the command that installs it."""

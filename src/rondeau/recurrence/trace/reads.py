"""Notices where a step leaves torch: what it reads of a tensor's values would be the same number at every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from rondeau.recurrence.trace.blame import user_line
from rondeau.recurrence.trace.forms import Declined
from rondeau.recurrence.trace.recorder import Recorder

_READERS = {
    "item": ".item()", "tolist": ".tolist()", "numpy": ".numpy()", "__array__": "NumPy", "__array_wrap__": "NumPy",
    "__dlpack__": "DLPack", "__bool__": "an if (or while, and, or, not, assert) on a tensor", "__float__": "float()",
    "__int__": "int()", "__index__": "a tensor used as a Python number", "__complex__": "complex()",
    "__repr__": "printing", "__format__": "printing", "__contains__": "in", "data_ptr": ".data_ptr()",
    "untyped_storage": ".untyped_storage()", "storage": ".storage()",
}  # fmt: skip


class Reads(TorchFunctionMode):
    """Within this mode, reading the values of a tensor that `recorder` does not know to be fixed is declined."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        what = _READERS.get(getattr(func, "__name__", ""))
        if what is not None and args and isinstance(args[0], Tensor) and not self.recorder.fixed(args[0]):
            raise self.recorder.refuse(Declined(f"{what} reads a tensor's value", user_line()))
        return func(*args, **(kwargs or {}))

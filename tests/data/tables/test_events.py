"""Events as arrays: what cannot be such."""

from __future__ import annotations

import numpy as np
import pytest

from rondeau.data.tables.event_sorter import sorted_events
from rondeau.data.tables.events import Coded
from rondeau.errors import DataError


def test_what_is_no_table_of_events_is_refused() -> None:
    with pytest.raises(DataError, match="has no time"):
        sorted_events(Coded.of(["a", "a"]), [0.0, np.nan], {}, {})
    with pytest.raises(DataError, match=r"another number of events.*amount"):
        sorted_events(Coded.of(["a", "a"]), [0.0, 1.0], {}, {"amount": [1.0]})
    with pytest.raises(DataError, match="no events"):
        sorted_events(Coded.of([]), [], {}, {})

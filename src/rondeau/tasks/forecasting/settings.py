"""What forecasting can be asked."""

from __future__ import annotations

from dataclasses import dataclass

from rondeau.errors import ArgumentError
from rondeau.heads.likelihoods import KINDS
from rondeau.tasks.settings import Asking, Common, option

DIRECT = "direct_quantile"


@dataclass(frozen=True)
class ForecastingSettings(Common):
    """What a forecasting run is asked."""

    test: float = option(0.2, "Share of the moments held out to the end: the last ones.")
    units: int = option(64, "Units of a recurrent layer.")
    dropout: float = option(0.3, "Rate before and after the recurrent layers.")
    batch_size: int = option(64, "Windows of a batch.")
    epochs: int = option(30, "Times the windows of the training part are read, at most.")
    learning_rate: float = option(5e-3, "Of Adam, at the start; it falls along a cosine.")
    horizon: int | None = option(None, "Steps to forecast. Default: a season, or 12.")
    target: str | None = option(None, "Column to forecast. Default: recognised.")
    time: str | None = option(None, "Column of time stamps. Default: recognised.")
    entity: str | None = option(None, "Column that says of which series a row is. Default: recognised.")
    known: tuple[str, ...] = option((), "Columns that are known in advance, such as holidays.")
    likelihood: str = option("student_t", "What is said of a value to come.", (*KINDS, DIRECT))
    season: int | None = option(None, "Steps of a season, 1 for none. Default: recognised.")
    context: int | None = option(None, "Steps read before a forecast. Default: by season and horizon.")
    calibrate: bool = option(True, "Widen intervals that hold too little of the validation part.")
    every: int = option(1, "A forecast to judge every so many steps.")
    on_error: str = option("fail", "What a row or step that cannot be used does.", ("fail", "skip"))
    delimiter: str | None = option(None, "Between the cells of a CSV file. Default: recognised.")
    encoding: str = option("utf-8", "Of CSV and JSON lines.")

    @property
    def kind(self) -> str:
        """The likelihood of a single value."""
        return "quantile" if self.likelihood == DIRECT else self.likelihood

    def check(self) -> None:
        """Raise `ArgumentError` for settings no run can begin with."""
        super().check()
        for name in ("horizon", "season", "context", "every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ArgumentError(name, expected="1 or more", got=value)


@dataclass(frozen=True)
class ForecastingAsking(Asking):
    """What `rondeau predict` can be asked of forecasts."""

    horizon: int | None = option(
        None, "Steps to forecast: fewer than were learnt, or more, rolled on. Default: the run's."
    )

    def check(self) -> None:
        if self.horizon is not None and self.horizon < 1:
            raise ArgumentError("horizon", expected="1 or more", got=self.horizon)

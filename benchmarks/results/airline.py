"""Airline: passengers a month, 1949 to 1960; one month ahead over the last third, 48 months, nothing learnt from them.

Each month is forecast from all before it. Persistence has a root mean squared error of 48.53 over the 47 changes within
that third, as it is often given, and of 48.04 with the change into its first month, which is forecast here as well.
"""

from __future__ import annotations

from benchmarks.results.seeds import arguments, table, trained
from rondeau.tasks.forecasting.settings import ForecastingSettings


def main() -> None:
    """Print the rows."""
    asked = arguments(__doc__, "benchmarks.results.airline")
    path = str(asked.data / "airline")
    found = trained("forecasting", asked.seeds, lambda _, seed: ForecastingSettings(path=path, horizon=1, test=1 / 3))
    print(table("Airline, one month ahead", found, ["rmse", "mase", "crps", "coverage_80"], asked.command))


if __name__ == "__main__":
    main()

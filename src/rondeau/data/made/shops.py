"""Series the package makes itself: a chain's shops, day by day, with promotions and holidays known in advance."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rondeau.data.tables.kinds import STAMPS
from rondeau.data.tables.table import Column, Table

SHOPS, DAYS = 16, 540


def demo_table(seed: int = 0, shops: int = SHOPS, days: int = DAYS) -> Table:
    """Daily sales: columns day, shop, sales, discount and holiday; the same table for the same seed.

    Each shop has a level, a growth, a week of its own and a year. A discount draws customers, more on weekends, who are
    missing in the two days after; before a holiday they buy ahead. Sales are counts, more uncertain in large shops.
    """
    draw = np.random.default_rng(seed)
    day = np.arange(days)
    first = np.datetime64("2022-01-03", "D")
    week = day % 7
    sales = np.empty((shops, days))
    discounts = np.zeros((shops, days))
    holiday = np.zeros(days, np.int32)
    holiday[draw.choice(np.arange(10, days - 1), days // 30, replace=False)] = 2
    holiday[:-1][(holiday[1:] == 2) & (holiday[:-1] == 0)] = 1  # the eve
    for shop in range(shops):
        level = draw.uniform(20, 200)
        weekend = draw.uniform(0.1, 0.9)
        shape = np.asarray([0, -0.1, -0.05, 0, 0.15, weekend, -0.5 * draw.integers(0, 2)])[week]
        year = draw.uniform(0.05, 0.2) * np.sin(2 * np.pi * (day - draw.integers(0, 60)) / 365)
        growth = draw.uniform(-0.1, 0.4) * day / days
        share = np.zeros(days)
        for start in draw.choice(days, days // 18, replace=False):
            share[start : start + int(draw.integers(1, 4))] = draw.choice([0.1, 0.2, 0.3])
        pull = 2.5 * share * (1 + (week >= 5))
        after = -0.8 * (np.roll(share, 1) + np.roll(share, 2)) * (share == 0)
        after[:2] = 0
        events = np.asarray([0.0, 0.5, -0.8])[holiday]
        mean = level * np.exp(shape + year + growth + pull + after + events)
        sales[shop] = draw.negative_binomial(40, 40 / (40 + mean))
        discounts[shop] = share
    stamps = np.tile((first + day).astype(STAMPS), shops)
    words = tuple(f"shop {i + 1:02d}" for i in range(shops))
    why = "the package made it"
    columns = {
        "day": Column("day", "time", why, stamps),
        "shop": Column("shop", "category", why, np.repeat(np.arange(shops), days).astype(np.int32), words),
        "sales": Column("sales", "number", why, sales.reshape(-1)),
        "discount": Column("discount", "number", why, discounts.reshape(-1)),
        "holiday": Column("holiday", "category", why, np.tile(holiday, shops), ("none", "eve", "holiday")),
    }
    return Table(Path("embedded sales"), shops * days, columns, [], [(0, "embedded sales", 1)])

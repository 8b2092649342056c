"""Card transactions made from a seed, with frauds that the order of events gives away and no count of them does."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import Generator

from rondeau.data.tables.event_sorter import sorted_events
from rondeau.data.tables.events import Coded, Events
from rondeau.errors import ArgumentError

SHOPS = ("grocery", "fuel", "restaurant", "clothes", "pharmacy", "travel", "online", "electronics")
AMOUNTS = (35.0, 50.0, 28.0, 60.0, 18.0, 90.0, 30.0, 120.0)  # the middle one of each kind of shop
COUNTRIES = ("AT", "BE", "CH", "DE", "ES", "FR", "GB", "IT", "NL", "PT")
ORDERS: tuple[tuple[str, str, str], ...]
ORDERS = (("test", "abroad", "large"), ("abroad", "test", "large"), ("test", "large", "abroad"))
ORDERS += (("large", "test", "abroad"), ("abroad", "large", "test"), ("large", "abroad", "test"))
FRAUD = ORDERS[0]
SHARE = 0.35  # of all three in a row, so many are frauds
PER_CARD = 1.4  # how many such rows of three a card has on average


def made_transactions(cards: int = 1500, seed: int = 0) -> Events:
    """Transactions of some cards: `shop`, `country`, `channel`, `amount`, and whether each is a fraud.

    A thief tries a card with a small charge, uses it abroad, and then makes a large purchase: the last is the fraud.
    The same three are there in any other order in honest customers' lives, as often and with the same amounts, among
    ordinary purchases that stand between them. One fraud in seven is plain to see: a purchase far above all others.
    Raises `ArgumentError` for fewer than 10 cards.
    """
    if cards < 10:
        raise ArgumentError("cards", expected="10 or more", got=cards)
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for card in range(cards):
        rows += _card(rng, f"card{card:05d}")
    words = {name: Coded.of([row[name] for row in rows]) for name in ("shop", "country", "channel")}
    return sorted_events(
        Coded.of([row["card"] for row in rows]),
        [row["time"] for row in rows],
        words,
        {"amount": np.array([row["amount"] for row in rows])},
        [row["fraud"] for row in rows],
        dated=True,
    )


def _card(rng: Generator, name: str) -> list[dict[str, Any]]:
    home = COUNTRIES[rng.integers(len(COUNTRIES))]
    tastes = rng.dirichlet(np.full(len(SHOPS), 0.7))
    wealth = float(rng.lognormal(0, 0.4))
    kinds: list[tuple[str, int]] = [("ordinary", 0)] * int(rng.integers(6, 16))
    for _ in range(rng.poisson(PER_CARD)):
        stolen = rng.random() < SHARE
        order = FRAUD if stolen else ORDERS[rng.integers(1, len(ORDERS))]
        for place, kind in enumerate(order):
            kinds += [(kind, int(stolen and place == 2))] + [("ordinary", 0)] * int(rng.integers(1, 4))
        kinds += [("ordinary", 0)] * int(rng.integers(3, 9))
    for kind in ("test", "abroad", "large"):  # each also comes alone, before all of these
        if rng.random() < 0.3:
            kinds.insert(int(rng.integers(0, 4)), (kind, 0))
    if rng.random() < 0.08:
        kinds.append(("plain", 1))
    time = 1.7e9 + float(rng.uniform(0, 86400 * 60))
    rows = []
    for kind, fraud in kinds:
        time += float(rng.lognormal(10.5, 1.0))  # the middle one is ten hours
        row = _transaction(rng, kind, home, tastes, wealth)
        rows.append({**row, "card": name, "time": round(time), "fraud": fraud})
    return rows


def _transaction(rng: Generator, kind: str, home: str, tastes: Any, wealth: float) -> dict[str, Any]:
    shop = int(rng.choice(len(SHOPS), p=tastes))
    amount = AMOUNTS[shop] * wealth * float(rng.lognormal(0, 0.5))
    channel = ("chip", "contactless", "online")[rng.integers(3)]
    country = home
    if kind == "test":
        shop, channel, amount = SHOPS.index("online"), "online", float(rng.uniform(0.5, 3))
    elif kind == "abroad":
        country = [c for c in COUNTRIES if c != home][rng.integers(len(COUNTRIES) - 1)]
    elif kind == "large":
        shop, amount = SHOPS.index("electronics"), float(rng.uniform(400, 1500))
    elif kind == "plain":
        amount = float(rng.uniform(2500, 6000))
    return {"shop": SHOPS[shop], "country": country, "channel": channel, "amount": round(amount, 2)}

"""Many to one: a sequence goes in, its class comes out, and the class hangs on what happened long before the end.

A 1 and a 2 stand somewhere in the first ten steps, and up to fifty random tokens follow: which of the two came first?
It learns from rows of all lengths, the short ones showing the way, and is asked about long ones only.
"""

import numpy as np

import rondeau as keras
from rondeau import layers


def sequences(rows, shortest, seed):
    rng = np.random.default_rng(seed)
    tokens = [rng.integers(3, 20, size=rng.integers(shortest, 61)) for _ in range(rows)]
    places = [rng.permutation(10)[:2] for _ in range(rows)]
    for row, (one, two) in zip(tokens, places, strict=True):
        row[one], row[two] = 1, 2
    return tokens, np.array([one < two for one, two in places], dtype=int)


keras.utils.set_random_seed(0)
model = keras.Sequential([layers.Embedding(20, 16), layers.LSTM(32), layers.Dense(1, activation="sigmoid")])
model.compile(keras.optimizers.Adam(0.01), loss="binary_crossentropy", metrics=["accuracy"])
model.fit(*sequences(1500, shortest=10, seed=1), epochs=8, verbose=0)
_, accuracy = model.evaluate(*sequences(500, shortest=50, seed=2))
print(f"accuracy after fifty to sixty steps: {accuracy:.3f}")

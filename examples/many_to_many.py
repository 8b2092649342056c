"""Many to many: a tag for every step. Brackets go in; out comes how deep each of them stands."""

import numpy as np

import rondeau as keras
from rondeau import layers


def brackets(rows, steps, seed):
    rng = np.random.default_rng(seed)
    opening = rng.random((rows, steps)) < 0.5
    depth = np.zeros((rows, steps + 1), dtype=int)
    for t in range(steps):  # nothing closes at depth 0 or opens at depth 4
        opening[:, t] = (opening[:, t] | (depth[:, t] == 0)) & (depth[:, t] < 4)
        depth[:, t + 1] = depth[:, t] + np.where(opening[:, t], 1, -1)
    return np.where(opening, 1, 2), depth[:, 1:]


keras.utils.set_random_seed(0)
model = keras.Sequential()
model.add(layers.Embedding(3, 8))
model.add(layers.GRU(32, return_sequences=True))
model.add(layers.Dense(5, activation="softmax"))
model.compile(keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(*brackets(1000, 30, seed=1), epochs=6, verbose=0)
_, accuracy = model.evaluate(*brackets(300, 90, seed=2))
print(f"accuracy per step, on rows three times as long as those it learnt from: {accuracy:.3f}")

"""One to one: a feed-forward network, for contrast. A point goes in, out comes the ring it lies on."""

import numpy as np

import rondeau as keras
from rondeau import layers

keras.utils.set_random_seed(0)
points = np.random.default_rng(0).uniform(-1, 1, size=(3000, 2))
rings = (4 * np.hypot(*points.T)).astype(int).clip(max=3)

model = keras.Sequential(
    [layers.Input((2,)), layers.Dense(32, activation="relu"), layers.Dense(4, activation="softmax")]
)
model.compile(keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(points[:2000], rings[:2000], epochs=30, verbose=0)
_, accuracy = model.evaluate(points[2000:], rings[2000:])
print(f"accuracy on points it has not seen: {accuracy:.3f}")

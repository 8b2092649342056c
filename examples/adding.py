"""The adding problem (Hochreiter & Schmidhuber 1997): of many numbers two are marked; what is their sum?

A network must hold the first over hundreds of steps until it meets the second. Always answering 1, the mean, has an
error of 0.167. Bai, Kolter & Koltun (2018, arXiv 1803.01271) report 5.3e-5 for a GRU over 600 steps, 0.164 for an LSTM.
`python examples/adding.py --steps 600` makes the same trial; without it, a short one.
"""

import argparse

import numpy as np

import rondeau as keras
from rondeau import layers

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=50)
parser.add_argument("--epochs", type=int)
parser.add_argument("--cell", choices=["GRU", "LSTM", "SimpleRNN"], default="GRU")
options = parser.parse_args()
short = options.steps < 100
epochs = options.epochs or (8 if short else 12)


def numbers(rows, seed):
    rng = np.random.default_rng(seed)
    x = np.zeros((rows, options.steps, 2), np.float32)
    x[..., 0] = rng.random((rows, options.steps))
    every, half = np.arange(rows), options.steps // 2
    marked = rng.integers(0, half, rows), rng.integers(half, options.steps, rows)  # one in each half
    for places in marked:
        x[every, places, 1] = 1
    return x, sum(x[every, places, 0] for places in marked)[:, None]


keras.utils.set_random_seed(0)
x, y = numbers(5_000 if short else 50_000, seed=1)
cell = getattr(layers, options.cell)
model = keras.Sequential([layers.Input((None, 2)), cell(32 if short else 128), layers.Dense(1)])
rate = keras.optimizers.schedules.CosineDecay(0.005 if short else 0.002, decay_steps=epochs * -(-len(x) // 64))
model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), "mse")
best = keras.callbacks.EarlyStopping("val_loss", patience=epochs, restore_best_weights=True)
model.fit(x, y, batch_size=64, epochs=epochs, callbacks=[best], validation_data=numbers(1000, seed=2), verbose=2)
mse = model.evaluate(*numbers(1000, seed=3), batch_size=250)
print(f"{options.cell} over {options.steps} steps: error {mse:.2g} on 1,000 sequences it has not seen")

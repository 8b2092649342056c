"""Handwritten digits of 8x8 pixels, read pixel by pixel, one number a step: three cells beside each other.

Once in the order of reading, once permuted, the same way in every image, so that neighbours are far apart (Le, Jaitly
& Hinton 2015, arXiv 1504.00941, did this with larger digits). All are judged on images that none has learnt from.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import rondeau as keras
from rondeau import layers

images, digits = load_digits(return_X_y=True)  # 1,797 images of 64 pixels, whole numbers from 0 to 16
pixels = (images / 16).astype("float32")[..., None]
order = np.random.default_rng(0).permutation(64)
EPOCHS = 60


def accuracy(cell, pixels, rate):
    x, x_test, y, y_test = train_test_split(pixels, digits, test_size=0.25, stratify=digits, random_state=0)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([layers.Input((64, 1)), cell, layers.Dense(10)])
    schedule = keras.optimizers.schedules.CosineDecay(rate, decay_steps=EPOCHS * 43)  # 1,347 images, 32 at a time
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(schedule, clipnorm=1.0), loss, metrics=["accuracy"])
    model.fit(x, y, epochs=EPOCHS, verbose=0)
    return model.evaluate(x_test, y_test)[1]


print("            in order  permuted")
for name, rate in (("SimpleRNN", 0.002), ("LSTM", 0.01), ("GRU", 0.01)):
    found = [accuracy(getattr(layers, name)(64), data, rate) for data in (pixels, pixels[:, order])]
    print(f"{name:10s}  {found[0]:8.3f}  {found[1]:8.3f}", flush=True)

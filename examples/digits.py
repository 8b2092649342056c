"""Handwritten digits of 8x8 pixels read as sixty-four integers, one after another: which of the ten is it?

Three networks see the same steps through the same embedding: an LSTM, their mean, which knows no order, and a
feed-forward network with weights for every position. All are judged on images that none of them has learnt from.
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import rondeau as keras
from rondeau import layers

images, digits = load_digits(return_X_y=True)  # pixels are whole numbers from 0 to 16
x, x_test, y, y_test = train_test_split(images.astype(int), digits, test_size=0.25, stratify=digits, random_state=0)


def accuracy(epochs, *middle):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([layers.Input((64,)), layers.Embedding(17, 16), *middle, layers.Dense(10)])
    rate = keras.optimizers.schedules.CosineDecay(0.01, decay_steps=epochs * 43)  # 1,347 images, 32 at a time
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    model.fit(x, y, epochs=epochs, verbose=0)
    return model.evaluate(x_test, y_test)[1]


print(f"LSTM: {accuracy(20, layers.LSTM(64)):.3f}", flush=True)
print(f"mean: {accuracy(60, layers.GlobalAveragePooling1D(), layers.Dense(64, activation='relu')):.3f}", flush=True)
print(f"feed-forward: {accuracy(30, layers.Flatten(), layers.Dense(64, activation='relu')):.3f}", flush=True)

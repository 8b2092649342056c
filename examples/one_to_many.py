"""One to many: a number goes in, its name comes out, letter by letter."""

import numpy as np

import rondeau as keras
from rondeau import layers

WORDS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"""
ONES, TENS = WORDS.split()[:20], WORDS.split()[18:]
LETTERS = " abcdefghijklmnopqrstuvwxyz"


def name(n):
    if n < 20:
        return ONES[n]
    big, rest = (TENS[n // 10], n % 10) if n < 100 else (f"{ONES[n // 100]} hundred", n % 100)
    return f"{big} {name(rest)}" if rest else big


numbers = np.random.default_rng(0).permutation(1000)
digits = np.eye(10)[np.stack([numbers // 100, numbers // 10 % 10, numbers % 10], 1)].reshape(1000, 30)
names = np.array([[LETTERS.index(letter) for letter in name(n).ljust(27)] for n in numbers])

keras.utils.set_random_seed(0)
model = keras.Sequential([layers.Input((30,)), layers.RepeatVector(27), layers.GRU(96, return_sequences=True)])
model.add(layers.Dense(27, activation="softmax"))
rate = keras.optimizers.schedules.CosineDecay(0.01, decay_steps=40 * 25)
model.compile(keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy")
model.fit(digits[:800], names[:800], epochs=40, verbose=0)
written = model.predict(digits[800:]).argmax(-1)
print(f"for example {numbers[800]}:", "".join(LETTERS[i] for i in written[0]).strip())
print(f"names written without a mistake, of numbers it has not seen: {(written == names[800:]).all(1).mean():.3f}")

"""Many to many, of another length: decimal numbers go in, Roman numerals come out."""

import numpy as np

import rondeau as keras

SIGNS = "_IVXLCDM"  # id 0 is padding
UNITS = ["", "1", "11", "111", "12", "2", "21", "211", "2111", "13"]


def roman(n):
    """Ids of the Roman numeral's signs; each decimal place is written alike, two signs further on."""
    places = [(n // 10**power % 10, power) for power in (3, 2, 1, 0)]
    return [int(sign) + 2 * power for digit, power in places for sign in UNITS[digit]]


numbers = np.random.default_rng(0).permutation(np.arange(1, 4000))
decimal = [[int(digit) + 1 for digit in str(n)] for n in numbers]
numerals = [roman(n) for n in numbers]

keras.utils.set_random_seed(0)
model = keras.EncoderDecoder(
    source_size=11, target_size=8, units=64, embedding_dim=16, cell="gru", attention="additive"
)
model.compile(keras.optimizers.Adam(0.005))
model.fit(decimal[:3000], numerals[:3000], epochs=5, verbose=0)
written = model.translate(decimal[3000:], beam=3, max_length=20)
print(f"for example {numbers[3000]}:", "".join(SIGNS[sign] for sign in written[0]))
right = np.mean([one == other for one, other in zip(written, numerals[3000:], strict=True)])
print(f"numerals written without a mistake, of numbers it has not seen: {right:.3f}")

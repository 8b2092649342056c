"""A cell of one's own: a mass on a spring. From how it moved, the network learns the spring's stiffness and damping."""

from typing import NamedTuple

import numpy as np

import rondeau as keras
from rondeau import layers


class Motion(NamedTuple):
    """The cell's state."""

    position: object
    velocity: object


class Spring(keras.Cell):
    """Force in, position out; a step lasts a tenth of a second."""

    def __init__(self):
        super().__init__()
        self.state_size, self.output_size = Motion(position=1, velocity=1), 1

    def build(self, features):
        self.stiffness = self.add_weight("stiffness", (1,), "ones")
        self.damping = self.add_weight("damping", (1,), "ones")

    def step(self, force, state):
        pull = force - self.stiffness * state.position - self.damping * state.velocity
        velocity = state.velocity + 0.1 * pull
        position = state.position + 0.1 * velocity
        return position, Motion(position, velocity)


rng = np.random.default_rng(0)
force = rng.normal(size=(200, 100, 1))
spring = keras.Sequential([layers.Input((None, 1)), layers.RNN(Spring(), return_sequences=True)])
spring.set_weights([[2.0], [0.3]])
seen = spring.predict(force) + rng.normal(scale=0.05, size=(200, 100, 1))  # the true motion, not seen sharply

model = keras.Sequential([layers.Input((None, 1)), layers.RNN(Spring(), return_sequences=True)])
model.compile(keras.optimizers.Adam(0.02), loss="mse")
model.fit(force, seen, epochs=20, verbose=0)
stiffness, damping = (float(weight[0]) for weight in model.get_weights())
print(f"stiffness {stiffness:.3f} (true 2.0), damping {damping:.3f} (true 0.3)")

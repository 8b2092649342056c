"""Everybody who takes part, one file each. A peer is imported in its own process only."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from shutil import which

from benchmarks.cases import INFERENCE, STREAMING, TRAINING, Problem
from benchmarks.formulas import STANDARD

WHOLE = TRAINING, INFERENCE
ALL = TRAINING, INFERENCE, STREAMING


@dataclass(frozen=True)
class Peer:
    """Who takes part, as far as can be known without importing it.

    Attributes:
        name: as it is asked for.
        title: as it is reported.
        module: in `benchmarks.peers`; its `make(problem)` returns a `Runner`.
        needs: top-level modules that must be there.
        programs: of which one must be there.
        versions: distributions whose versions are reported.
        environment: what its process starts with.
        modes, cells: what it can run; no cells means every one.
        ragged: whether it can run rows of unequal length.
        patience: seconds it may take to prepare a case, compiling included.
        compiles: whether taking longer than that leaves it out, rather than being a fault.
    """

    name: str
    title: str
    module: str
    needs: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict, hash=False)
    modes: tuple[str, ...] = WHOLE
    cells: tuple[str, ...] = ()
    ragged: bool = True
    patience: float = 600
    compiles: bool = False

    @property
    def missing(self) -> list[str]:
        """What it needs and is not installed."""
        lacking = [name for name in self.needs if find_spec(name) is None]
        if self.programs and not any(map(which, self.programs)):
            lacking.append(" or ".join(self.programs))
        return lacking

    def takes(self, problem: Problem) -> bool:
        """Whether it can run this at all."""
        fits = not self.cells or problem.cell in self.cells
        return fits and problem.mode in self.modes and (self.ragged or not problem.case.ragged)


JAX = {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "0"}
OURS = Peer("rondeau", "Rondeau", "ours", versions=("rondeau", "torch"), modes=ALL)
# Nobody waits for the reference, and one thread is not held up by a busy machine.
REFERENCE = Peer("reference", "float64 reference", "reference", environment={"OMP_NUM_THREADS": "1"})
SGEMM = Peer("sgemm", "sgemm", "sgemm")
PEERS = (
    Peer("torch.nn", "torch.nn", "torch_nn", versions=("torch",), cells=STANDARD, modes=ALL),
    Peer("loop", "PyTorch loop", "torch_loop", versions=("torch",)),
    Peer(
        "torch.compile",
        "torch.compile",
        "torch_compiled",
        versions=("torch",),
        environment={"TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"},  # or a second run would compile faster than the first
        programs=("c++", "g++", "clang++"),
        patience=60,
        compiles=True,
    ),
    Peer("jax", "JAX scan", "jax_scan", needs=("jax",), versions=("jax", "jaxlib"), environment=JAX),
    Peer(
        "keras-tensorflow",
        "Keras on TensorFlow",
        "keras_layers",
        needs=("keras", "tensorflow"),
        versions=("keras", "tensorflow-cpu", "tensorflow"),
        environment={"KERAS_BACKEND": "tensorflow"},
    ),
    Peer(
        "keras-jax",
        "Keras on JAX",
        "keras_layers",
        needs=("keras", "jax"),
        versions=("keras", "jax"),
        environment={**JAX, "KERAS_BACKEND": "jax"},
    ),
    Peer(
        "onnx",
        "ONNX Runtime",
        "onnx_runtime",
        needs=("onnx", "onnxruntime"),
        versions=("onnx", "onnxruntime"),
        modes=(INFERENCE, STREAMING),
        cells=STANDARD,
        ragged=False,
    ),
)
WINDOW = 200  # steps
FULL = Peer("full", "everything kept", "windows")
AGAIN = Peer("recompute", "Recompute", "windows", environment={"RONDEAU_BENCHMARK_WINDOW": str(WINDOW)})
EVERYBODY = {peer.name: peer for peer in (OURS, REFERENCE, SGEMM, FULL, AGAIN, *PEERS)}

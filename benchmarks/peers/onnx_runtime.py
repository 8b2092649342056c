"""ONNX Runtime: the operators RNN, GRU and LSTM, for inference and for single steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from benchmarks.cases import STREAMING, Problem
from benchmarks.formulas import Array, data, weights
from benchmarks.peers.base import OUTPUTS
from benchmarks.peers.streams import Stream

OPERATORS = {"simple rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}
ORDERS = {"simple rnn": [0], "gru": [0, 1, 2], "lstm": [0, 3, 1, 2]}  # ours, i f g o, as ONNX has them: i o f g
OPSET, IR = 22, 10  # old enough for every version in the range


def parameters(problem: Problem) -> dict[str, Array]:
    """W, R and B as the operators want them: one direction, gates before inputs, two biases."""
    own = weights(problem)

    def turned(array: Array) -> Array:
        gates = np.split(array, len(ORDERS[problem.cell]), -1)
        return np.concatenate([gates[i] for i in ORDERS[problem.cell]], -1).T[None]  # type: ignore[no-any-return]

    bias = own["bias"] if own["bias"].ndim == 2 else np.stack([own["bias"], np.zeros_like(own["bias"])])
    return {
        "W": turned(own["kernel"]),
        "R": turned(own["recurrent_kernel"]),
        "B": np.concatenate([turned(bias[0]), turned(bias[1])], -1),
    }


def session(problem: Problem, stateful: bool) -> onnxruntime.InferenceSession:
    """A program of one operator; `stateful` ones take states `h` (and `c`) and return them after the outputs."""
    case, operator = problem.case, OPERATORS[problem.cell]
    states = ["h", "c"][: 2 if operator == "LSTM" else 1] if stateful else []
    attributes: dict[str, Any] = {"hidden_size": case.units}
    if operator == "GRU":
        attributes["linear_before_reset"] = 1
    time = 1 if stateful else case.time
    after = [f"{state}_after" for state in states]
    node = helper.make_node(
        operator, ["x", "W", "R", "B", *(["", *states] if states else [])], ["y", *after], **attributes
    )

    def tensor(name: str, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    held = (1, case.batch, case.units)
    graph = helper.make_graph(
        [node],
        problem.cell,
        [tensor("x", time, case.batch, case.features), *(tensor(state, *held) for state in states)],
        [tensor("y", time, 1, case.batch, case.units), *(tensor(name, *held) for name in after)],
        [numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in parameters(problem).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = 2, 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class Whole:
    """The whole sequence in one call."""

    note = ""

    def __init__(self, problem: Problem) -> None:
        self.session = session(problem, stateful=False)
        self.feed = {"x": data(problem)[0]}

    def change(self) -> None:
        """Nothing: the weights are the program's."""

    def run(self) -> NDArray[np.float32]:
        return self.session.run(None, self.feed)[0]  # type: ignore[no-any-return]

    def results(self) -> dict[str, NDArray[np.floating[Any]]]:
        return {OUTPUTS: self.run()[:, 0]}


class OnnxStream(Stream):
    """One step a call; states go back in as they came out."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.session = session(problem, stateful=True)
        self.names = [entry.name for entry in self.session.get_inputs()]
        self.zero = np.zeros((1, 1, problem.case.units), np.float32)
        self.reset()

    def reset(self) -> None:
        self.states = [self.zero for _ in self.names[1:]]

    def step(self, row: NDArray[np.float32]) -> NDArray[np.float32]:
        output, *self.states = self.session.run(None, dict(zip(self.names, [row[None], *self.states], strict=True)))
        return output[0, 0]  # type: ignore[no-any-return]


def make(problem: Problem) -> Whole | OnnxStream:
    """See `Runner`."""
    return OnnxStream(problem) if problem.mode == STREAMING else Whole(problem)

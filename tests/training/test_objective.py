from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from rondeau import Ragged, losses, metrics
from rondeau.errors import ArgumentError, CheckpointError, DataError
from rondeau.training.objective import Objective

TRUE, PRED = torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [4.0]])  # squares 1 and 4


def scored(objective: Objective, targets: list[Any], outputs: list[Any], weights: Any = None, **more: Any) -> Any:
    pairs = objective.pairs(targets, outputs, weights or [None] * len(outputs), more.get("by_class"))
    scores = objective.loss(pairs, more.get("penalties", []))
    objective.update(pairs, scores)
    return scores


def bound(names: list[str], *given: Any, **options: Any) -> Objective:
    objective = Objective(*given, **options)
    objective.bind(names)
    return objective


def test_one_output() -> None:
    objective = bound(["o"], "mse", ["mae", metrics.MeanSquaredError(name="square"), metrics.R2Score()])
    assert scored(objective, [TRUE], [PRED]).total.item() == 2.5
    assert objective.results() == {"loss": 2.5, "mae": 1.5, "square": 2.5, "r2_score": -9}
    assert objective.running_results() == {"loss": 2.5, "mae": 1.5, "square": 2.5}  # the means alone
    objective.reset()
    assert objective.results()["loss"] == 0


def test_several_outputs_with_weights_of_their_own() -> None:
    objective = bound(["a", "b", "c"], ["mse", "mae", None], [["mae"], None, "mse"], loss_weights=[2, 0.5, None])
    scores = scored(objective, [TRUE, TRUE, TRUE], [PRED, PRED, PRED])
    assert scores.total.item() == 2 * 2.5 + 0.5 * 1.5
    assert [None if part is None else part.item() for part in scores.parts] == [2.5, 1.5, None]
    assert objective.results() == {"loss": 5.75, "a_loss": 2.5, "b_loss": 1.5, "a_mae": 1.5, "c_mse": 2.5}


def test_dicts_by_name_may_leave_outputs_out() -> None:
    objective = bound(["a", "b"], {"b": "mse"}, {"a": ["mae"]}, loss_weights={"b": 3.0})
    scored(objective, [TRUE, TRUE], [PRED, PRED])
    assert objective.results() == {"loss": 7.5, "b_loss": 2.5, "a_mae": 1.5}
    untouched = bound(["a", "b"], {"b": "mse"})
    assert scored(untouched, [None, TRUE], [PRED, PRED]).total.item() == 2.5


def test_one_loss_for_all_outputs() -> None:
    objective = bound(["a", "b"], "mse", "mae")
    scored(objective, [TRUE, TRUE], [PRED, TRUE])
    assert objective.results() == {"loss": 2.5, "a_loss": 2.5, "b_loss": 0, "a_mae": 1.5, "b_mae": 0}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("mse", None, None, {"z": 1.0}), r"loss_weights names an output there is not: .*got \['z'\]"),
        (({"z": "mse"},), "loss names an output there is not"),
        ((["mse"],), "loss does not fit the outputs: expected 2: a, b, got 1"),
        (("mse", {"z": "mae"}), "metrics names an output there is not"),
        (("mse", ["mae", "mse", "mae"]), "metrics does not fit the outputs"),
        (("mse", None, ["mae"]), "weighted_metrics does not fit the outputs"),
    ],
)
def test_what_does_not_fit_the_outputs(given: tuple[Any, ...], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        bound(["a", "b"], *given)


@pytest.mark.parametrize("given", [("msee",), ({"a": "msee"},), ("mse", [["msee"]]), ("mse", None, {"a": ["msee"]})])
def test_unknown_names_are_refused_at_once(given: tuple[Any, ...]) -> None:
    with pytest.raises(ArgumentError, match="called 'msee'"):
        Objective(*given)


def test_names_that_meet_are_told_apart() -> None:
    objective = bound(["o"], "mse", ["mae", "mae"], ["mae", "mse"])
    scored(objective, [TRUE], [PRED], [torch.tensor([1.0, 0.0])])
    assert objective.results() == {"loss": 0.5, "mae": 1.5, "mae_1": 1.5, "weighted_mae": 1, "mse": 1}


def test_a_metric_object_has_one_place() -> None:
    one = metrics.MeanAbsoluteError()
    with pytest.raises(ArgumentError, match="one metric object stands in two places"):
        bound(["a", "b"], "mse", [one, one])
    for _ in range(2):  # compiled twice, the object keeps its name
        assert list(bound(["a", "b"], "mse", [one, None]).reported)[-1] == "a_mean_absolute_error"


def test_the_running_loss_is_a_mean_over_values() -> None:
    objective = bound(["o"], "mse", ["mse"])
    scored(objective, [TRUE], [PRED])
    scored(objective, [TRUE[:1]], [TRUE[:1]])
    assert objective.results() == {"loss": pytest.approx(5 / 3), "mse": pytest.approx(5 / 3)}
    several = bound(["a", "b"], "mse")
    scored(several, [TRUE, TRUE], [PRED, TRUE])
    scored(several, [TRUE[:1], TRUE[:1]], [TRUE[:1], PRED[:1]])
    assert several.results() == {"loss": 2, "a_loss": pytest.approx(5 / 3), "b_loss": pytest.approx(1 / 3)}


def test_steps_count_and_not_rows() -> None:
    objective = bound(["o"], "mse", ["mae"])
    for lengths in ([3, 0], [1, 2]):
        output = Ragged(torch.arange(3.0)[:, None], torch.tensor(lengths))
        scored(objective, [torch.zeros(2, 4, 1)], [output])
    assert objective.results() == {"loss": pytest.approx(5 / 3), "mae": 1}


def test_a_batch_without_a_step_changes_nothing_and_has_a_gradient() -> None:
    values = torch.zeros(0, 1, requires_grad=True)

    class Fragile(metrics.MeanMetric):
        def values(self, y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
            return y_pred[0] - y_true[0]

    objective = bound(["o"], "mse", ["mae", "AUC", Fragile()])
    scores = scored(objective, [torch.zeros(2, 4, 1)], [Ragged(values, torch.tensor([0, 0]))])
    scores.total.backward()
    assert scores.total.item() == 0
    assert objective.results() == {"loss": 0, "mae": 0, "AUC": 0, "fragile": 0}


def test_penalties_belong_to_the_total_alone() -> None:
    objective = bound(["a", "b"], "mse")
    scored(objective, [TRUE, TRUE], [PRED, PRED], penalties=[torch.tensor(0.5), torch.tensor(1.0)])
    assert objective.results() == {"loss": 6.5, "a_loss": 2.5, "b_loss": 2.5}


def test_weights_of_samples_and_classes() -> None:
    objective = bound(["o"], "mse", ["mae"], ["mse"])
    scores = scored(objective, [TRUE], [PRED], [torch.tensor([2.0, 1.0])], by_class={1: 3.0})
    assert scores.total.item() == (1 * 2 * 3 + 4) / 2
    assert objective.results() == {"loss": 5.0, "mae": 1.5, "mse": pytest.approx(10 / 7)}


def test_missing_targets_and_losses() -> None:
    with pytest.raises(DataError, match="there is no target for b"):
        bound(["a", "b"], "mse").pairs([TRUE, None], [PRED, PRED], [None, None])
    with pytest.raises(ArgumentError, match="no loss was given"):
        scored(bound(["a"], None, ["mae"]), [TRUE], [PRED])


def test_a_loss_that_is_no_number() -> None:
    with pytest.raises(ArgumentError, match="the loss mean_squared_error is no single number"):
        scored(bound(["a"], losses.MeanSquaredError(reduction="none")), [TRUE], [PRED])


def test_functions() -> None:
    def gap(y_true: torch.Tensor, y_pred: torch.Tensor) -> torch.Tensor:
        return (y_true - y_pred).abs().sum(-1)

    objective = bound(["o"], gap, [gap])
    assert scored(objective, [TRUE], [PRED]).total.item() == 1.5
    assert objective.results() == {"loss": 1.5, "gap": 1.5}


def test_the_state_goes_on_bit_for_bit() -> None:
    def made() -> Objective:
        return bound(["a", "b"], "mse", [["mae", "AUC"], ["mse"]])

    chance = torch.rand(7, 1)
    targets = (chance > 0.5).float()
    one, other = made(), made()
    scored(one, [targets, targets], [chance, chance * math.pi])
    other.load_state_dict(one.state_dict())
    for objective in (one, other):
        scored(objective, [targets, targets], [chance**2, chance])
    assert one.results() == other.results()
    other.load_state_dict({})
    assert set(other.results().values()) == {0.0}


def test_the_state_of_other_metrics_is_refused() -> None:
    one = bound(["a"], "mse", ["mae"])
    scored(one, [TRUE], [PRED])
    with pytest.raises(CheckpointError, match="the state is of other metrics: expected loss, mse, got loss, mae"):
        bound(["a"], "mse", ["mse"]).load_state_dict(one.state_dict())


def test_metrics_given_where_weights_belong_are_told_so() -> None:
    with pytest.raises(ArgumentError, match=r"loss_weights: expected numbers.*compile\(optimizer, loss, metrics="):
        Objective("mse", loss_weights=["accuracy"])

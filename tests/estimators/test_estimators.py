"""The estimators as scikit-learn's users meet them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from rondeau import Ragged
from rondeau.errors import ArgumentError, DataError
from rondeau.estimators import Forecaster, SequenceClassifier, SequenceRegressor, SequenceTagger

QUICK: dict[str, Any] = {"units": 4, "epochs": 1, "batch_size": 64, "random_state": 0, "device": "cpu"}
LEARNS: dict[str, Any] = {**QUICK, "epochs": 12, "batch_size": 12, "learning_rate": 5e-2, "dropout": 0.0}


def ramps(count: int, seed: int = 0, features: int = 2) -> tuple[list[Any], Any]:
    """Sequences of unequal length that rise or fall."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, count)
    x = [rng.normal(0, 0.2, (int(rng.integers(4, 9)), features)) for _ in range(count)]
    for rows, label in zip(x, y, strict=True):
        rows[:, 0] += np.linspace(0, 1, len(rows)) * (2 * label - 1)
    return x, np.array(["falls", "rises"])[y]


def test_classes_and_probabilities() -> None:
    x, y = ramps(60)
    model = SequenceClassifier(**LEARNS).fit(x, y)
    fresh, truth = ramps(40, seed=1)
    assert model.classes_.tolist() == ["falls", "rises"]
    assert model.score(fresh, truth) > 0.9
    shares = model.predict_proba(fresh)
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-12)
    np.testing.assert_array_equal(model.classes_[shares.argmax(1)], model.predict(fresh))


@pytest.mark.parametrize("estimator", [SequenceClassifier, SequenceRegressor])
def test_all_forms_of_x_are_one(estimator: Any) -> None:
    rng = np.random.default_rng(0)
    cube = rng.normal(size=(12, 5, 3))
    y = np.arange(12) % 2
    objects = np.empty(12, object)
    objects[:] = list(cube)
    ragged = Ragged.from_rows([torch.from_numpy(rows) for rows in cube])
    said = [estimator(**QUICK).fit(x, y)._outputs(x) for x in (cube, list(cube), cube.tolist(), objects, ragged)]
    for other in said[1:]:
        np.testing.assert_array_equal(said[0], other)
    table = cube[:, :, 0]
    series = [rows[:, None] for rows in table]
    flat = [estimator(**QUICK).fit(x, y)._outputs(x) for x in (table, table.tolist(), series)]
    np.testing.assert_allclose(flat[0], flat[1], atol=1e-7)
    np.testing.assert_allclose(flat[0], flat[2], atol=1e-7)


def test_a_regressor_learns_numbers_and_rows_of_them() -> None:
    x, _ = ramps(60)
    y = np.array([10 * (rows[-1, 0] - rows[0, 0]) + 100 for rows in x])
    model = SequenceRegressor(**{**LEARNS, "epochs": 20}).fit(x, y)
    assert model.score(x, y) > 0.8
    both = SequenceRegressor(**QUICK).fit(x, np.stack([y, -y], 1))
    assert both.predict(x).shape == (60, 2)


def test_a_tagger_of_numbers_and_of_words() -> None:
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(int(rng.integers(3, 8)), 1)) for _ in range(60)]
    y = [np.where(rows[:, 0] > 0, "+", "-") for rows in x]
    model = SequenceTagger(**LEARNS).fit(x, y)
    assert model.score(x, y) > 0.9
    assert [len(tags) for tags in model.predict(x)] == [len(rows) for rows in x]
    words = [["the", "dog", "barks"], ["dogs", "bark"]] * 10
    tags = [["D", "N", "V"], ["N", "V"]] * 10
    reader = SequenceTagger(**LEARNS).fit(words, tags)
    assert reader.score(words, tags) == 1.0
    assert len(reader.predict([["the", "cat", "unknown"]])[0]) == 3
    assert pickle.loads(pickle.dumps(reader)).score(words, tags) == 1.0


def test_missing_values_are_taken() -> None:
    x, y = ramps(20)
    x[3][0, 0] = np.nan
    model = SequenceClassifier(**QUICK).fit(x, y)
    assert np.isfinite(model.predict_proba(x)).all()


def test_clones_pickles_and_seeds_say_the_same() -> None:
    x, y = ramps(20)
    state = torch.get_rng_state()
    model = SequenceClassifier(**QUICK).fit(x, y)
    assert torch.equal(torch.get_rng_state(), state)
    expected = model.predict_proba(x)
    np.testing.assert_array_equal(clone(model).fit(x, y).predict_proba(x), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(x), expected)
    assert not np.array_equal(clone(model).set_params(random_state=1).fit(x, y).predict_proba(x), expected)


def test_pipelines_and_grid_search() -> None:
    x, y = ramps(24)
    doubled = FunctionTransformer(lambda rows: [2 * one for one in rows])
    pipeline = make_pipeline(doubled, SequenceClassifier(**QUICK))
    search = GridSearchCV(pipeline, {"sequenceclassifier__units": [2, 4]}, cv=2).fit(x, y)
    assert search.best_params_["sequenceclassifier__units"] in (2, 4)
    table = np.array([rows[:4, 0] for rows in x])
    scores = cross_val_score(make_pipeline(StandardScaler(), SequenceClassifier(**QUICK)), table, y, cv=2)
    assert scores.shape == (2,)
    tags = [list(np.where(rows[:, 0] > 0, "+", "-")) for rows in x]
    found = GridSearchCV(SequenceTagger(**QUICK), {"cell": ["gru", "simple_rnn"]}, cv=2).fit(x, tags)
    assert 0 <= found.best_score_ <= 1


def test_held_out_rows_choose_the_epoch() -> None:
    x, y = ramps(40)
    options = {**LEARNS, "validation_fraction": 0.2, "patience": 1, "epochs": 30, "learning_rate": 0.5}
    model = SequenceClassifier(**options).fit(x, y)
    assert model.n_iter_ < 30  # so large a rate soon makes it worse
    assert "val_loss" in model.history_


def test_class_weights_move_the_answers() -> None:
    x, y = ramps(30)
    options = {**LEARNS, "epochs": 6}
    shares = []
    for weight in ({"rises": 9, "falls": 1}, None, "balanced", {"rises": 1, "falls": 9}):
        model = SequenceClassifier(class_weight=weight, **options).fit(x, y)
        shares.append(model.predict_proba(x)[:, 1].mean())
    assert shares[0] > shares[1] > shares[3]
    assert shares[0] > shares[2] > shares[3]


@pytest.mark.parametrize(
    ("x", "y", "options", "what"),
    [
        ([[1.0], [2.0, 3.0]], [0, 0], {}, "only one class"),
        ([[1.0], [2.0, 3.0]], [0, 1, 1], {}, "inconsistent numbers of samples"),
        ([[1.0], []], [0, 1], {}, "another form.*sequence 1"),
        ([[1.0], [np.inf, 1.0]], [0, 1], {}, "infinite.*sequence 1"),
        ([np.zeros((2, 3)), np.zeros((4, 2))], [0, 1], {}, "differ in features.*sequence 1"),
        ([[1.0], [2.0, 3.0]], [0, 1], {"cell": "transformer"}, "cell"),
        ([[1.0], [2.0, 3.0]], [0, 1], {"units": 0}, "units"),
        ([[1.0], [2.0, 3.0]], [0, 1], {"patience": 3}, "patience"),
        ([[1.0], [2.0, 3.0]], [0, 1], {"validation_fraction": 1.0}, "validation_fraction"),
    ],
)
def test_what_does_not_fit_is_said(x: Any, y: Any, options: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        SequenceClassifier(**{**QUICK, **options}).fit(x, y)


def test_other_features_than_in_fit_are_refused() -> None:
    x, y = ramps(10)
    model = SequenceClassifier(**QUICK).fit(x, y)
    with pytest.raises(DataError, match="expecting 2 features"):
        model.predict([rows[:, :1] for rows in x])
    with pytest.raises(DataError, match="holds words"):
        model.predict([["a", "b"]])
    words = SequenceClassifier(**QUICK).fit([["a"], ["b", "a"]], [0, 1])
    with pytest.raises(DataError, match="holds numbers"):
        words.predict(x)
    with pytest.raises(DataError, match="not a label for each step"):
        SequenceTagger(**QUICK).fit([[1.0, 2.0], [1.0]], [[0, 1], [0, 1]])
    with pytest.raises(ArgumentError, match="epochs"):
        SequenceRegressor(epochs=0).fit(x, np.arange(10.0))


def test_rondeau_alone_does_not_import_scikit_learn() -> None:
    code = "import sys, rondeau; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# scikit-learn's own checks. They give 2-D arrays, whose rows are series of one feature. What they ask of quality needs
# training in earnest, and is slow; with one epoch those checks can only fail, and are left out of the quick ones.
QUALITY = {"check_classifiers_train", "check_regressors_train", "check_class_weight_classifiers"}
QUALITY |= {
    "check_class_weight_balanced_linear_classifier",
    "check_classifiers_classes",
    "check_classifiers_multilabel",
}


def checks(estimator: Any, quality: bool) -> list[Any]:
    found = []
    for _, check in estimator_checks_generator(estimator):
        name = getattr(check, "func", check).__name__
        if (name in QUALITY) == quality:
            marks = [pytest.mark.slow] if isinstance(estimator, SequenceRegressor) else []  # nearly the same code
            found.append(pytest.param(check, id=f"{type(estimator).__name__}-{name}", marks=marks))
    return found


BARE = [SequenceClassifier(**QUICK, bidirectional=False), SequenceRegressor(**QUICK, bidirectional=False)]
GOOD = {"units": 16, "epochs": 60, "learning_rate": 2e-2, "dropout": 0.0, "bidirectional": False, "device": "cpu"}
TRAINED = [SequenceClassifier(**GOOD), SequenceRegressor(**GOOD)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("check", [check for one in BARE for check in checks(one, quality=False)])
def test_checks_of_scikit_learn(check: Any, request: pytest.FixtureRequest) -> None:
    estimator = clone(BARE["Regressor" in request.node.name])
    check(estimator)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("check", [check for one in TRAINED for check in checks(one, quality=True)])
def test_checks_of_quality(check: Any, request: pytest.FixtureRequest) -> None:
    check(clone(TRAINED["Regressor" in request.node.name]))


# The same for estimators whose data are of another form than the checks give, with the reason for each check left out.
_LABELS = "it fits a label for each row, a tagger needs one for each step"
_SHORT = "it gives rows of a few numbers, too short to learn a forecast from"
_FITS = (
    "check_fit_score_takes_y",
    "check_estimators_overwrite_params",
    "check_dont_overwrite_parameters",
    "check_estimators_fit_returns_self",
    "check_readonly_memmap_input",
    "check_n_features_in_after_fitting",
    "check_positive_only_tag_during_fit",
    "check_estimators_dtypes",
    "check_dtype_object",
    "check_pipeline_consistency",
    "check_estimators_pickle",
    "check_f_contiguous_array_estimator",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_fit2d_1feature",
    "check_dict_unchanged",
    "check_fit_idempotent",
    "check_fit_check_is_fitted",
    "check_n_features_in",
    "check_fit2d_predict1d",
)
LEFT_OUT: dict[str, dict[str, str]] = {
    "SequenceTagger": {**dict.fromkeys(_FITS, _LABELS), "check_fit2d_1sample": _LABELS},
    "Forecaster": {
        **dict.fromkeys(_FITS, _SHORT),
        "check_estimators_empty_data_messages": "a table of no columns is no series, and is refused in other words",
        "check_estimators_nan_inf": "NaN is a missing value",
        "check_fit1d": "an array (steps,) is one series",
    },
}
OTHERS = [SequenceTagger(**QUICK), Forecaster(horizon=2, units=4, epochs=1)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", OTHERS, ids=lambda one: type(one).__name__)
def test_checks_of_scikit_learn_that_apply(estimator: Any) -> None:
    left_out, ran, met = LEFT_OUT[type(estimator).__name__], 0, set()
    for given, check in estimator_checks_generator(clone(estimator)):
        name = getattr(check, "func", check).__name__
        if name in left_out:
            met.add(name)
            with pytest.raises((AssertionError, ValueError)):  # one that passes belongs to the others
                check(given)
        elif name != "check_array_api_input":  # skips itself
            check(given)
            ran += 1
    assert met == set(left_out)
    assert ran >= 14

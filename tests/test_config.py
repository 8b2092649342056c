from __future__ import annotations

import copy
import inspect
import json
import pickle
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from rondeau.config import Configurable, deserialize, remake, serialize
from rondeau.errors import CheckpointError, SaveError


class Part(Configurable):
    def __init__(self, size: int, scale: float = 1.0) -> None:
        self.size, self.scale = size, scale


class Whole(Configurable):
    def __init__(self, parts: Any, function: Any = None, **options: Any) -> None:
        self.parts, self.function, self.options = parts, function, options


class Child(Part):
    def __init__(self, size: int) -> None:
        super().__init__(size, 5.0)


class Pair(NamedTuple):
    one: Any
    two: Any


def double(x: float) -> float:
    return 2 * x


KNOWN = {"Part": Part, "Whole": Whole, "Child": Child, "double": double}


def test_only_what_was_given_is_remembered() -> None:
    assert Part(3).get_config() == {"size": 3}
    assert Part(3, scale=2.0).get_config() == {"size": 3, "scale": 2.0}
    assert Part(scale=2.0, size=3).get_config() == {"size": 3, "scale": 2.0}


def test_a_subclass_remembers_its_own_arguments() -> None:
    assert Child(4).get_config() == {"size": 4}
    assert Child(4).scale == 5.0


def test_a_tree_of_objects_returns_from_json() -> None:
    whole = Whole([Part(1), (Part(2, 0.5), None)], function=double, name="w", sizes={"a": np.int64(3), "b": (1, None)})
    data = json.loads(json.dumps(serialize(whole)))
    again = deserialize(data, KNOWN)
    assert type(again) is Whole
    assert again.parts[0].size == 1
    assert again.parts[1][0].scale == 0.5
    assert again.parts[1][1] is None
    assert again.function is double
    assert again.options == {"name": "w", "sizes": {"a": 3, "b": [1, None]}}
    assert serialize(again) == data


@pytest.mark.parametrize("value", [np.float32(0.5), np.int8(3), True, None, "text", 2.5])
def test_plain_values_stay_themselves(value: Any) -> None:
    assert json.loads(json.dumps(serialize(value))) == value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (lambda x: x, "a lambda cannot be saved"),
        (torch.ones(2), "got Tensor"),
        (object(), "got object"),
        ({1: 2}, "got dict"),
        ({"function": "double"}, "got dict"),  # reads back as the function
        ({"class": "Part", "config": {}}, "got dict"),
    ],
)
def test_what_has_no_form_in_json_is_refused_by_name(value: Any, said: str) -> None:
    with pytest.raises(SaveError, match=said) as caught:
        Whole([1, value]).get_config()
    assert caught.value.where == "Whole(parts=...)[1]"


def test_arguments_without_names_cannot_be_saved() -> None:
    class Loose(Configurable):
        def __init__(self, *sizes: int) -> None:
            self.sizes = sizes

    assert Loose(1, 2).sizes == (1, 2)
    with pytest.raises(SaveError, match=r"\*sizes"):
        Loose(1, 2).get_config()


def test_wrong_arguments_are_pythons_own_error() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'size'"):
        Part()  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"class": "Nobody", "config": {}}, r"'Nobody'.*custom_objects"),
        ({"function": "nothing"}, r"'nothing'.*custom_objects"),
        ({"class": "double", "config": {}}, "damaged"),
        ({"class": "Part", "config": [1]}, "damaged"),
        ({"class": ["Part"], "config": {}}, "damaged"),
        ({"function": {"os": "system"}}, "damaged"),
    ],
)
def test_foreign_or_damaged_objects_are_refused(data: Any, said: str) -> None:
    with pytest.raises(CheckpointError, match=said) as caught:
        deserialize({"class": "Whole", "config": {"parts": [data]}}, KNOWN, "model")
    assert str(caught.value.where).startswith("model.Whole.parts[0]")


def test_remaking_shares_nothing_that_learns() -> None:
    linear = torch.nn.Linear(2, 2)
    whole = Whole(
        [Part(1)], function=double, pair=Pair(Part(2), 3), several=(Part(4),), torch=linear, more={"a": Part(5)}
    )
    assert remake(Part(1, scale=2.0), scale=3.0).get_config() == {"size": 1, "scale": 3.0}
    again = remake(whole, name="twin")
    assert again.options["name"] == "twin"
    assert "name" not in whole.options
    assert again.parts[0] is not whole.parts[0]
    assert again.options["pair"].one is not whole.options["pair"].one
    assert type(again.options["pair"]) is Pair
    assert again.options["several"][0] is not whole.options["several"][0]
    assert again.options["more"]["a"] is not whole.options["more"]["a"]
    assert again.options["torch"] is not linear
    assert torch.equal(again.options["torch"].weight, linear.weight)
    assert again.function is double


def test_copies_keep_their_arguments() -> None:
    for again in (copy.deepcopy(Part(3, 0.5)), pickle.loads(pickle.dumps(Part(3, 0.5)))):
        assert again.get_config() == {"size": 3, "scale": 0.5}
        assert again.scale == 0.5


def test_a_class_without_arguments_takes_none() -> None:
    class Plain(Configurable):
        pass

    assert Plain().get_config() == {}
    assert str(inspect.signature(Plain)) == "()"
    with pytest.raises(TypeError, match=r"Plain\(\) takes no arguments"):
        Plain(size=3)  # type: ignore[call-arg]


def test_help_shows_the_constructor() -> None:
    assert str(inspect.signature(Part)) == "(size: 'int', scale: 'float' = 1.0)"
    assert str(inspect.signature(Child)) == "(size: 'int')"
    assert str(inspect.signature(Times(1))) == "(x: 'float') -> 'float'"


class Times(Configurable):
    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, x: float) -> float:
        return self.size * x

"""Models on disk: `config.json` says how to make one, `weights.safetensors` holds its weights. No pickle."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from torch import Tensor

from rondeau import activations, cells, heads, init, layers, recurrence, regularizers
from rondeau.cells import Cell
from rondeau.config import Configurable, deserialize, serialize
from rondeau.errors import CheckpointError, RondeauError, SaveError
from rondeau.layers import Layer
from rondeau.training import losses, metrics, optimizers
from rondeau.training.files import (
    FORMAT,
    VERSION,
    check_version,
    load_tensors,
    parse_header,
    save_tensors,
    write_atomically,
)

if TYPE_CHECKING:
    from rondeau.models.model import Model
    from rondeau.training.trainer import Trainer

CONFIG, WEIGHTS = "config.json", "weights.safetensors"
_PENDING = f".{CONFIG}.next"  # a new configuration, until the weights it belongs to are there
_OPTIMIZER = "optimizer/"  # before the names of the optimiser's tensors, among those of the weights
_GIVEN = ("loss", "metrics", "weighted_metrics", "loss_weights")


def save(model: Model, folder: Path, overwrite: bool, include_optimizer: bool) -> None:
    """Write the model into `folder`; see `Model.save`.

    The weights name the configuration they belong to, so halves never mix; they are replaced at one stroke, and either
    configuration is there beside them until then, so that a crash at any moment leaves the old model or the new one.
    """
    if not overwrite and (folder / CONFIG).exists():
        fix = "Pass overwrite=True, or another path"
        raise CheckpointError("the folder holds a model already", where=folder, fix=fix)
    if folder.exists() and not folder.is_dir():
        raise CheckpointError("a model is saved as a folder, here is a file", where=folder, fix="Give another path")
    frozen = [name for name, weight in model.named_parameters() if not weight.requires_grad]
    described: dict[str, Any] = {"format": FORMAT, "version": VERSION, "model": serialize(model)}
    described |= {"shapes": built_shapes(model), "frozen": frozen}
    tensors = dict(model.state_dict())
    if include_optimizer and model.trainer is not None:
        described["training"] = _describe_training(model.trainer)
        tensors |= _optimizer_state(model.trainer.optimizer)
    text = json.dumps(described, indent=2)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / _PENDING, text.encode())
    save_tensors(folder / WEIGHTS, "weights", tensors, {"config": _digest(text)})
    os.replace(folder / _PENDING, folder / CONFIG)


def load(path: Any, custom_objects: Mapping[str, Any] | None = None, compile: bool = True, device: Any = "auto") -> Any:
    """The model that `model.save(path)` wrote, with its weights, in `eval` mode.

    Args:
        path: the folder.
        custom_objects: name -> class or function, for what is not Rondeau's. Nothing named in a file is imported.
        compile: if it was saved compiled, compile it the same way, its optimiser as far as it was (default true).
        device: where it is then trained, as in `Model.compile`.

    Raises `CheckpointError` for a folder that is missing, damaged, foreign, too new, or needs an object not given.
    """
    folder = Path(path)
    if not (folder / CONFIG).is_file() and not (folder / WEIGHTS).is_file():
        raise CheckpointError("there is no saved model", where=folder, expected=f"a folder with {CONFIG}")
    tensors, meta = load_tensors(folder / WEIGHTS, "weights")
    config = _read_config(folder, meta.get("config"))
    custom = dict(custom_objects or {})
    model = _make(config["model"], {**known_objects(), **custom}, "model", folder)
    build_again(model, config["shapes"])
    load_state(model, _weights(tensors), folder)
    for name, weight in model.named_parameters():
        weight.requires_grad_(name not in config["frozen"])
    if compile and "training" in config:
        _compile_again(model, config["training"], custom, device, folder)
        state = {name.removeprefix(_OPTIMIZER): t for name, t in tensors.items() if name.startswith(_OPTIMIZER)}
        if state:
            model.optimizer.build(model.named_parameters())
            model.optimizer.load_state_dict(state)
    return model.eval()


def _read_config(folder: Path, wanted: str | None) -> dict[str, Any]:
    """The configuration the weights belong to: `config.json`, or after a crash the one that was to become it."""
    for file in (folder / CONFIG, folder / _PENDING):
        if not file.is_file():
            continue
        content = file.read_bytes()
        if _digest(content) == wanted:
            config: dict[str, Any] = json.loads(content)
            return config
        if file.name == CONFIG:  # another model's, or none of ours
            check_version(parse_header(content), file)
    fix = "Save the model again; config.json must not be changed by hand"
    raise CheckpointError("configuration and weights do not belong together", where=folder, fix=fix)


def _make(data: Any, known: Mapping[str, Any], where: str, folder: Path) -> Any:
    try:
        return deserialize(data, known, where)
    except RondeauError:
        raise
    except Exception as error:  # whatever the constructors of custom objects may raise
        what = "an object cannot be made from its saved arguments"
        fix = "Give custom_objects the classes as they were when the model was saved"
        got = f"{type(error).__name__}: {error}"
        raise CheckpointError(what, where=f"{where} in {folder}", got=got, fix=fix) from error


def _describe_training(trainer: Trainer) -> dict[str, Any]:
    """What `compile` was given. Raises `SaveError` where that has no JSON form."""
    try:
        given = dict(zip(_GIVEN, trainer.objective.given, strict=True))
        described = {name: serialize(value, f"compile({name}=...)") for name, value in given.items()}
        return {"optimizer": serialize(trainer.optimizer, "compile(optimizer=...)"), **described}
    except SaveError as error:
        fix = "Save without it: save(path, include_optimizer=False)"
        raise SaveError(error.what, expected=error.expected, got=error.got, where=error.where, fix=fix) from error


def _optimizer_state(optimizer: Any) -> dict[str, Tensor]:
    state = optimizer.state_dict() if optimizer.built else {}
    return {_OPTIMIZER + name: tensor for name, tensor in state.items()}


def _compile_again(model: Model, described: dict[str, Any], custom: dict[str, Any], device: Any, folder: Path) -> None:
    everything = {**vars(losses), **vars(metrics)}
    names = {*losses.__all__, *metrics.__all__} - {"get"}
    functions = {name: everything[name] for name in names if inspect.isfunction(everything[name])}
    known = {
        "optimizer": optimizers.OBJECTS,
        "loss": {**functions, **losses.OBJECTS},
        "metrics": {**functions, **metrics.OBJECTS},
        "weighted_metrics": {**functions, **metrics.OBJECTS},
        "loss_weights": {},
    }
    made = {
        name: _make(described[name], {**objects, **custom}, f"compile({name}=...)", folder)
        for name, objects in known.items()
    }
    model.compile(**made, device=device)


def _weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(_OPTIMIZER)}


def save_weights(model: Model, path: Path) -> None:
    """The weights alone."""
    save_tensors(path, "weights", model.state_dict(), {})


def load_weights(model: Model, path: Path) -> None:
    """Weights into a model of the same make."""
    file = path / WEIGHTS if path.is_dir() else path
    load_state(model, _weights(load_tensors(file, "weights")[0]), file)


def load_state(model: Model, tensors: Mapping[str, Tensor], where: object) -> None:
    """A state dict into a model. Raises `CheckpointError` where they do not fit."""
    own = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    saved = {name: tuple(t.shape) for name, t in tensors.items()}
    if own != saved:
        names = [name for name in sorted({*own, *saved}) if own.get(name) != saved.get(name)]
        differ = [f"{name}: {own.get(name, 'absent')} here, {saved.get(name, 'absent')} saved" for name in names[:3]]
        raise CheckpointError("the weights are of another model", got="; ".join(differ), where=where)
    model.load_state_dict(tensors)


def built_shapes(model: Model) -> dict[str, Any]:
    """What every layer was built for, by its path in the model: an input shape, or a cell's number of features."""
    shapes = {}
    for name, module in model.named_modules():
        if isinstance(module, Layer) and module.input_shape is not None:
            shapes[name] = module.input_shape
        elif isinstance(module, Cell) and module.features is not None:
            shapes[name] = module.features
    return shapes


def build_again(model: Model, shapes: Mapping[str, Any]) -> None:
    """Make the weights of every layer, for the shapes that `built_shapes` gave."""
    for name, module in list(model.named_modules()):
        if name in shapes and isinstance(module, (Layer, Cell)):
            module.build_for(_shape(shapes[name]))


def _shape(data: Any) -> Any:
    """JSON has no tuples: sizes are a tuple, several shapes a list or dict of them."""
    if isinstance(data, dict):
        return {name: _shape(part) for name, part in data.items()}
    if isinstance(data, list):
        return [_shape(part) for part in data] if any(isinstance(part, list) for part in data) else tuple(data)
    return data


def known_objects() -> dict[str, Any]:
    """Every class and function of Rondeau that a saved model may name."""
    from rondeau.models.encoder_decoder import EncoderDecoder
    from rondeau.models.functional import Functional
    from rondeau.models.recognizer import Recognizer
    from rondeau.models.sequential import Sequential

    models: dict[str, Any] = {"EncoderDecoder": EncoderDecoder, "Recognizer": Recognizer}
    models |= {"Functional": Functional, "Sequential": Sequential}
    found: dict[str, Any] = {**models, **activations.FUNCTIONS}
    modules: tuple[ModuleType, ...] = (layers, heads, cells, recurrence, init, regularizers)
    for module in modules:
        for name, value in vars(module).items():
            if inspect.isclass(value) and issubclass(value, Configurable):
                found[name] = value
    return found


def _digest(text: str | bytes) -> str:
    content = text.encode() if isinstance(text, str) else text
    return hashlib.blake2b(content, digest_size=16).hexdigest()

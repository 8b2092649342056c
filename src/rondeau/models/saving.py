"""Models on disk: `config.json` says how to make one, `weights.safetensors` holds its weights. No pickle."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rondeau import activations, cells, init, layers, regularizers
from rondeau.config import Configurable, deserialize, serialize
from rondeau.cells import Cell
from rondeau.errors import CheckpointError
from rondeau.layers import Layer
from rondeau.training.files import FORMAT, VERSION, load_tensors, save_tensors, write_atomically

if TYPE_CHECKING:
    from rondeau.models.model import Model

CONFIG, WEIGHTS = "config.json", "weights.safetensors"


def save(model: Model, folder: Path, overwrite: bool) -> None:
    """Write the model into `folder`; the weights name the configuration they belong to, so halves never mix."""
    if not overwrite and (folder / CONFIG).exists():
        raise CheckpointError("the folder holds a model already", where=folder, fix="Pass overwrite=True, or another path")
    described = {"format": FORMAT, "version": VERSION, "model": serialize(model), "shapes": built_shapes(model)}
    text = json.dumps(described, indent=2)
    folder.mkdir(parents=True, exist_ok=True)
    # the weights first: a crash in between leaves a new digest beside an old configuration, which load refuses
    save_tensors(folder / WEIGHTS, "weights", model.state_dict(), {"config": _digest(text)})
    write_atomically(folder / CONFIG, text.encode())


def load(path: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """The model that `model.save(path)` wrote, with its weights, in `eval` mode; `compile` it to train on.

    Args:
        path: the folder.
        custom_objects: name -> class or function, for what is not Rondeau's. Nothing named in a file is imported.

    Raises `CheckpointError` for a folder that is missing, damaged, foreign, too new, or needs an object not given.
    """
    folder = Path(path)
    if not (folder / CONFIG).is_file():
        raise CheckpointError("there is no saved model", where=folder, expected=f"a folder with {CONFIG}")
    text = (folder / CONFIG).read_text(encoding="utf-8", errors="replace")
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise CheckpointError("the configuration is damaged", where=folder / CONFIG, got=error) from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise CheckpointError("the folder was not written by Rondeau", where=folder / CONFIG)
    if config.get("version", 0) > VERSION:
        fix = "Upgrade: pip install -U rondeau"
        got = f"version {config['version']}"
        raise CheckpointError("the model was saved by a newer Rondeau", where=folder, got=got, fix=fix)
    tensors, meta = load_tensors(folder / WEIGHTS, "weights")
    if meta.get("config") != _digest(text):
        raise CheckpointError("configuration and weights do not belong together", where=folder, fix="Save it again")
    model = deserialize(config["model"], {**known_objects(), **(custom_objects or {})}, "model")
    build_again(model, config["shapes"])
    load_state(model, tensors, folder)
    return model.eval()


def save_weights(model: Model, path: Path) -> None:
    """The weights alone."""
    save_tensors(path, "weights", model.state_dict(), {})


def load_weights(model: Model, path: Path) -> None:
    """Weights into a model of the same make."""
    file = path / WEIGHTS if path.is_dir() else path
    load_state(model, load_tensors(file, "weights")[0], file)


def load_state(model: Model, tensors: Mapping[str, Any], where: object) -> None:
    """A state dict into a model. Raises `CheckpointError` where they do not fit."""
    own = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    saved = {name: tuple(t.shape) for name, t in tensors.items()}
    if own != saved:
        differ = [f"{n}: {own.get(n, 'absent')} here, {saved.get(n, 'absent')} saved" for n in sorted({*own, *saved})
                  if own.get(n) != saved.get(n)]  # fmt: skip
        raise CheckpointError("the weights are of another model", got="; ".join(differ[:3]), where=where)
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
    """JSON has no tuples: sizes are a tuple, several shapes a list of them."""
    if isinstance(data, list):
        return [_shape(part) for part in data] if any(isinstance(part, list) for part in data) else tuple(data)
    return data


def known_objects() -> dict[str, Any]:
    """Every class and function of Rondeau that a saved model may name."""
    from rondeau.models.functional import Functional
    from rondeau.models.sequential import Sequential

    found: dict[str, Any] = {"Sequential": Sequential, "Functional": Functional, **activations.FUNCTIONS}
    modules: tuple[ModuleType, ...] = (layers, cells, init, regularizers)
    for module in modules:
        for name, value in vars(module).items():
            if inspect.isclass(value) and issubclass(value, Configurable):
                found[name] = value
    return found


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

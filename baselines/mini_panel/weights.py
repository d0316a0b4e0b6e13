"""The files of the weights: one for each part, float16 except for what is in four bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from safetensors.torch import load_file, save_file
from torch import nn

from mrb._util.hashing import hash_file, hash_json
from mrb.baselines.mini_panel.drawings import DrawingNet
from mrb.baselines.mini_panel.flags import FlagNet
from mrb.baselines.mini_panel.pages import LineReader
from mrb.baselines.mini_panel.texts import KindHead, TextEncoder, WordStatistics
from mrb.errors import AdapterError, to_one_line

NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "pages": LineReader,
    "drawings": DrawingNet,
    "flags": FlagNet,
    "kinds": KindHead,
}
ENCODER, VOCABULARY, WORDS = "texts.safetensors", "vocabulary.txt", "words.json"
FILES = (ENCODER, VOCABULARY, WORDS, *(f"{name}.safetensors" for name in NETWORKS))
"""All files of a folder of weights."""

Net = TypeVar("Net", bound=nn.Module)


def save_network(folder: Path, name: str, net: nn.Module) -> None:
    """Write a network's weights in float16."""
    state = {
        key: value.half().contiguous() if value.is_floating_point() else value
        for key, value in net.state_dict().items()
    }
    save_file(state, folder / f"{name}.safetensors")


def load_network(folder: Path, name: str, net: Net) -> Net:
    """Fill a network with the weights that `save_network` wrote and return it, for scoring."""
    with _ReadErrors(folder / f"{name}.safetensors") as path:
        net.load_state_dict({key: value.float() for key, value in load_file(path).items()})
    return net.eval()


def load_encoder(folder: Path) -> TextEncoder:
    """Return the encoder of texts."""
    with _ReadErrors(folder / VOCABULARY) as path:
        vocabulary = path.read_text("utf-8").splitlines()
    with _ReadErrors(folder / ENCODER) as path:
        return TextEncoder(load_file(path), vocabulary)


def load_words(folder: Path) -> WordStatistics:
    """Return the statistics of words."""
    with _ReadErrors(folder / WORDS) as path:
        return WordStatistics.read(path)


def hash_weights(folder: Path) -> str:
    """Return 16 hex digits over all files of weights."""
    return hash_json([[name, hash_file(folder / name)] for name in FILES])[:16]


class _ReadErrors:
    """A context in which a file is read: errors become one line that names it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Path:
        if not self._path.is_file():
            raise AdapterError(
                f"mini-panel: there is no {self._path}; python -m mrb.baselines.mini_panel.train --out FOLDER makes it"
            )
        return self._path

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, AdapterError):
            raise AdapterError(f"mini-panel: {self._path} cannot be read: {to_one_line(error, 160)}") from error

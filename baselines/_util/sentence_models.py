"""What the adapters of sentence-transformers' models share: loading, typed inputs, and live models of the user."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mrb.baselines._util.lazy_import import check_model_path, import_or_refuse, require_complete_weights
from mrb.data.items import Item
from mrb.engine.control import spell_special_tokens
from mrb.engine.training_mode import keep_training_mode
from mrb.errors import AdapterError, to_one_line
from mrb.hub.client import is_offline
from mrb.hub.retries import describe_failure, find_connection_error

INSTALL = "pip install 'mrb[cross-encoder]'"


def load_sentence_model(
    adapter: str,
    kind: type[Any],
    path: str,
    *,
    revision: str | None,
    device: str | None,
    dtype: str,
    trust_remote_code: bool,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Load a model of sentence-transformers from a folder or the Hub, completely or not at all.

    Args:
        adapter: Name of the adapter, for messages.
        kind: Class of the model, `CrossEncoder` or `SentenceTransformer`.
        path: Hub id or folder.
        revision: Commit, branch or tag of a Hub id.
        device: Device; None is the fastest available.
        dtype: float32, bfloat16, float16 or auto.
        trust_remote_code: Whether code in the repository may be run.
        options: Further arguments of the class.

    Returns:
        The model.

    Raises:
        AdapterError: The path names nothing, the model cannot be loaded, or a weight would be random.
    """
    check_model_path(adapter, path)
    # Without a connection the client would retry for a minute before it takes what is cached.
    unreached = None if is_offline() or Path(path).is_dir() else find_connection_error()
    try:
        with require_complete_weights(adapter, path, needed=False) as reports:
            model = kind(
                path,
                revision=revision,
                device=device,
                model_kwargs={"dtype": dtype},
                local_files_only=is_offline() or unreached is not None,
                trust_remote_code=trust_remote_code,
                **(options or {}),
            )
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        said = to_one_line(error, 200) if unreached is None else describe_failure(unreached)
        raise AdapterError(f"{adapter}: {path} cannot be loaded: {said}") from error
    # A model of static embeddings has no network of transformers; its own loader refuses a missing weight.
    if not reports and model.transformers_model is not None:
        raise AdapterError(f"{adapter}: {path}: cannot tell whether all of its weights were loaded")
    return model


def has_chat_template(model: Any) -> bool:
    """Return whether the model turns its inputs into chat messages, whose control tokens must stay tokens."""
    return "message" in getattr(model[0], "modality_config", {})


def takes_image_lists() -> bool:
    """Return whether sentence-transformers takes a list of images as one input; older releases take one image."""
    try:
        from sentence_transformers.base.modality_types import MultimodalInput
    except ImportError:
        return False
    return "image" in MultimodalInput.__annotations__


def make_typed_input(item: Item) -> dict[str, Any]:
    """Return an item as a dictionary {"image": ..., "text": ...}; several images are a list.

    A model that takes images would open a plain text that looks like an image's address or path; under the key "text"
    it stays a text.
    """
    opened = [image.open() for image in item.images]
    parts: dict[str, Any] = {"image": opened if len(opened) > 1 else opened[0]} if opened else {}
    return parts | ({"text": item.text} if item.text or not parts else {})


def read_special_tokens_as_text(model: Any) -> None:
    """Make special tokens in a text plain characters, unless the model has a chat template, whose own must stay tokens.

    The tokenizer of static embeddings is none of transformers and has no such switch.
    """
    tokenizer = getattr(model, "tokenizer", None)
    if hasattr(tokenizer, "all_special_tokens") and not has_chat_template(model):
        spell_special_tokens(tokenizer)


@contextmanager
def borrow_model(model: Any) -> Iterator[None]:
    """Lend a user's live model to an adapter: afterwards its tokenizer and training mode are as they were.

    Inside, special tokens in a text are plain characters, as in a model that the adapter loads itself.
    """
    first = model[0]
    own = getattr(first, "processor", None)
    with keep_training_mode(model):
        try:
            if own is not None:
                first.processor = copy.deepcopy(own)
                read_special_tokens_as_text(model)
            yield
        finally:
            if own is not None:
                first.processor = own


def import_sentence_transformers(adapter: str) -> Any:
    """Return the library. Raises AdapterError with the install command if it is not installed."""
    return import_or_refuse(adapter, "sentence_transformers", INSTALL)

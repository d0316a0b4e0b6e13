"""Build an engine or an embedder from an adapter's class attributes and a user's options."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from mrb.engine import checkpoint, float8, lora
from mrb.engine.backbone import Backbone, find_decoder
from mrb.engine.batching import probe_token_budget
from mrb.engine.embedder import Embedder
from mrb.engine.engine import Engine
from mrb.engine.family import ModelFamily
from mrb.engine.head import load_label_head
from mrb.engine.identity import hash_checkpoint
from mrb.engine.image_features import ImageFeatureExtractor
from mrb.engine.prompt import Prompter
from mrb.engine.prompt_template import PromptTemplate
from mrb.engine.stats import Stats
from mrb.engine.weight_files import find_weight_files
from mrb.errors import AdapterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mrb.engine.head import Head

_MEGABYTE = 1024 * 1024
_PATCHES_PER_TOKEN = 4


@dataclass(frozen=True)
class Options:
    """The options a user may set; `YesNo.__init__` explains them. None and 0 mean the adapter's own value.

    `path` is a Path if the folder has already been resolved.
    """

    path: str | Path | None
    revision: str | None
    device: str
    dtype: str
    attention: str | None
    max_length: int | None
    min_pixels: int | None
    max_pixels: int | None
    batch_tokens: int
    share_prefix: bool
    cache_mb: int
    image_threads: int
    base: str | None
    base_revision: str | None
    trust_remote_code: bool

    @classmethod
    def select(cls, given: Mapping[str, Any], **own: Any) -> Options:
        """Return the options among an adapter's parameters `given`; `own` replaces some of them."""
        names = [field.name for field in fields(cls) if field.name in given]
        return cls(**({name: given[name] for name in names} | own))

    def __post_init__(self) -> None:
        for name in ("max_length", "min_pixels", "max_pixels"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise AdapterError(f"{name}={value}: wanted a whole number from 1")
        for name in ("batch_tokens", "cache_mb", "image_threads"):
            if getattr(self, name) < 0:
                raise AdapterError(f"{name}={getattr(self, name)}: wanted a whole number from 0")


class DescribedModel(Protocol):
    """The class attributes by which an adapter describes its model."""

    name: str
    layout: PromptTemplate
    family: ModelFamily
    ignored: Sequence[str]


class DescribedReranker(DescribedModel, Protocol):
    """An adapter whose score is computed by a head."""

    def make_head(self, model: Any, folder: Path, tokenizer: Any) -> Head:
        """Return the head of the loaded model."""
        ...


@dataclass(frozen=True)
class LoadedModel:
    """A model and where it comes from. `given`: the user's folder; `folder`: the one with the tokenizer (the base's,
    for LoRA weights).

    `weights` identifies the weights.
    """

    model: Any
    given: Path
    folder: Path
    weights: str


@dataclass(frozen=True)
class _Parts:
    """What an engine or an embedder is made of."""

    tokenizer: Any
    prompter: Prompter
    backbone: Backbone
    extractor: ImageFeatureExtractor | None
    batch_tokens: int
    stats: Stats


def build_engine(adapter: DescribedReranker, options: Options) -> tuple[Engine, str]:
    """Load the checkpoint and build its engine; also return the identity of the weights.

    Raises AdapterError if anything is missing or does not fit.
    """
    loaded = _load_whole(adapter, options)
    return wire_engine(adapter, loaded, options), loaded.weights


def wire_engine(adapter: DescribedReranker, loaded: LoadedModel, options: Options) -> Engine:
    """Build the engine of a model that is on its device already."""
    parts = _make_parts(adapter, loaded, options)
    own = load_label_head(loaded.given, adapter.layout.score, loaded.model.device)
    return Engine(
        parts.prompter,
        parts.backbone,
        own or adapter.make_head(loaded.model, loaded.folder, parts.tokenizer),
        parts.extractor,
        batch_tokens=parts.batch_tokens,
        share=options.share_prefix,
        stats=parts.stats,
    )


def build_embedder(adapter: DescribedModel, options: Options) -> tuple[Embedder, str]:
    """Load the checkpoint without its head and build its embedder; also return the identity of the weights.

    Raises AdapterError like `build_engine`.
    """
    loaded = _load_whole(adapter, options, headless=True)
    return wire_embedder(adapter, loaded, options), loaded.weights


def wire_embedder(adapter: DescribedModel, loaded: LoadedModel, options: Options) -> Embedder:
    """Build the embedder of a model that is on its device already."""
    parts = _make_parts(adapter, loaded, options)
    return Embedder(parts.prompter, parts.backbone, parts.extractor, batch_tokens=parts.batch_tokens, stats=parts.stats)


def _load_whole(adapter: DescribedModel, options: Options, headless: bool = False) -> LoadedModel:
    if options.path is None:
        raise AdapterError(f"{adapter.name}: name the checkpoint: --set path=FOLDER or ORGANISATION/NAME")
    device = checkpoint.get_device(options.device)
    dtype = checkpoint.get_dtype(options.dtype, device, [float8.NAME])
    path = options.path
    given = path if isinstance(path, Path) else checkpoint.resolve_checkpoint(path, options.revision)
    weights = hash_checkpoint(given)
    adapter.family.verify(given, adapter.layout)
    model, folder = _load_model(adapter, given, dtype, options)
    if folder != given:
        weights += f"+{hash_checkpoint(folder)}"
    if headless:
        model.lm_head = torch.nn.Identity()  # saves a gigabyte in the large models
    model = model.to(device)
    if options.dtype == float8.NAME:
        float8.quantize_linears(find_decoder(model))
    return LoadedModel(model, given, folder, weights)


def _make_parts(adapter: DescribedModel, loaded: LoadedModel, options: Options) -> _Parts:
    model, folder = loaded.model, loaded.folder
    tokenizer = checkpoint.load_tokenizer(folder, trust_remote_code=options.trust_remote_code)
    stats = Stats()
    backbone = Backbone(model, bidirectional=adapter.family.bidirectional)
    batch_tokens = options.batch_tokens or probe_token_budget(backbone)
    extractor = _build_image_extractor(adapter, model, folder, options, batch_tokens, stats)
    prompter = Prompter(
        tokenizer,
        adapter.layout,
        options.max_length or adapter.layout.max_length,
        extractor.tokens if extractor is not None else None,
        extractor.make_ids if extractor is not None else None,
    )
    return _Parts(tokenizer, prompter, backbone, extractor, batch_tokens, stats)


def _load_model(adapter: DescribedModel, folder: Path, dtype: torch.dtype, options: Options) -> tuple[Any, Path]:
    """Return the model, with LoRA weights merged, and the folder of its tokenizer and processor."""
    tuned = lora.read_adapter(folder)
    base = folder
    if tuned is not None:
        find_weight_files(folder)  # refuses a whole model next to LoRA weights
        base = lora.find_base(folder, tuned, options.base, options.base_revision)
    elif options.base is not None or options.base_revision is not None:
        raise AdapterError(f"{folder}: holds no LoRA weights ({lora.CONFIG_FILE}), so there is no base to name")
    model = checkpoint.load_model(
        base,
        adapter.family.get_loader(base),
        dtype=dtype,
        attention=options.attention,
        trust_remote_code=options.trust_remote_code,
        ignored=adapter.ignored,
        key_mapping=adapter.family.key_mapping,
    )
    return (model if tuned is None else lora.merge_adapter(model, folder, tuned)), base


def _build_image_extractor(
    adapter: DescribedModel, model: Any, folder: Path, options: Options, batch_tokens: int, stats: Stats
) -> ImageFeatureExtractor | None:
    tower = adapter.family.build_tower(model, folder, adapter.layout, options.min_pixels, options.max_pixels)
    if tower is None:
        return None
    return ImageFeatureExtractor(
        tower,
        device=model.device,
        cache_bytes=options.cache_mb * _MEGABYTE,
        batch_patches=_PATCHES_PER_TOKEN * batch_tokens,
        stats=stats,
        threads=options.image_threads,
    )

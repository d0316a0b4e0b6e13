"""Find a checkpoint on disk or on the Hub at a pinned revision, and load it completely or refuse it.

The most common error in this field is a head that is silently random because a weight had another name. Nothing here
continues with missing, mismatched or unexpected weights.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrb._util.home import expand_user
from mrb.engine.weight_files import find_weight_files
from mrb.errors import AdapterError, to_one_line
from mrb.hub.client import is_offline
from mrb.hub.retries import describe_failure, describe_refusal, find_connection_error
from mrb.hub.xet import retry_without_xet

if TYPE_CHECKING:
    import torch

DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "cuda", "mps")
_WANTED = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# Early Qwen2.5-VL checkpoints name this class, which was never released: its place is taken by Qwen2-VL's.
_UNRELEASED = "Qwen2_5_VLImageProcessor"
# Buffers that are recomputed from the configuration; older files still contain them.
RECOMPUTED = r"(rotary_emb\.inv_freq|position_ids|masked_bias)$"


def require(adapter: str, *modules: str, extra: str = "models") -> None:
    """Raise AdapterError, in one line, if a module that the adapter needs is not installed."""
    from importlib.util import find_spec

    absent = [module for module in modules if find_spec(module) is None]
    if absent:
        raise AdapterError(f"{adapter} needs {' and '.join(absent)}: pip install 'mrb[{extra}]'")


def resolve_checkpoint(
    path: str, revision: str | None, option: str = "revision", name: str = "path", wanted: Sequence[str] = _WANTED
) -> Path:
    """Return the folder of a checkpoint: a local folder, or a Hub repository downloaded at `revision`.

    `option` and `name` are the user's names for `revision` and `path`, used in messages. `wanted` are patterns of the
    files to download. Raises AdapterError if the folder, the revision or the network is missing, if the repository is
    gated or unknown, and if ORGANISATION/NAME without a revision is also the name of a local folder.
    """
    folder = expand_user(path)
    hub_id = bool(_HUB_ID.fullmatch(path))
    if folder.is_dir() and not (hub_id and revision is not None):
        if hub_id:
            raise AdapterError(describe_both_meanings(path, name, f"add {option}=COMMIT"))
        if revision is not None:
            raise AdapterError(f"{path} is a folder; {option} is for repositories of the Hub")
        return folder
    if not hub_id:
        raise AdapterError(f"{path}: no such folder, and no ORGANISATION/NAME of the Hub")
    if revision is None:
        raise AdapterError(
            f"{path}: give the commit to load, as a branch can change: --set {option}=COMMIT, which "
            f"`git ls-remote https://huggingface.co/{path} HEAD` prints"
        )
    if not _COMMIT.fullmatch(revision):
        raise AdapterError(f"{path}: revision {to_one_line(revision, 50)!r} is not a commit (40 hex digits)")
    return _fetch_checkpoint(path, revision, wanted)


def describe_both_meanings(path: str, name: str, hub: str) -> str:
    """Return the message for a path that is both a local folder and a Hub id. `hub` says how to choose the Hub."""
    return (
        f"{name}={path} is a folder here, and may mean the repository of that name on the Hub: write "
        f"{name}=./{path} for the folder, {hub} for the Hub"
    )


def _fetch_checkpoint(repository: str, revision: str, wanted: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download

    alone = is_offline()
    # Without a connection the client would retry for a minute before it takes what is cached.
    unreached = None if alone else find_connection_error()
    cached = alone or unreached is not None

    def fetch() -> str:
        return snapshot_download(repository, revision=revision, allow_patterns=list(wanted), local_files_only=cached)

    try:
        return Path(retry_without_xet(fetch))
    except Exception as error:  # the client raises a family of its own, requests' and the system's
        if unreached is not None:
            failure = describe_failure(unreached)
            raise AdapterError(f"{repository}@{revision[:8]} cannot be fetched: {failure}") from error
        if not alone and (refused := describe_refusal(error)) is not None:
            raise AdapterError(f"{repository}@{revision[:8]}: {refused}") from error
        hint = "MRB_OFFLINE is set and it is not cached" if alone else "is the machine online, the name right?"
        said = to_one_line(f"{type(error).__name__}: {error}", 160)
        raise AdapterError(f"{repository}@{revision[:8]} cannot be fetched ({hint}): {said}") from error


def read_config(folder: Path) -> dict[str, Any]:
    """Return the checkpoint's config.json. Raises AdapterError if it is not a JSON object."""
    path = folder / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterError(f"{path}: {to_one_line(error)}") from error
    if not isinstance(content, dict):
        raise AdapterError(f"{path}: not a JSON object")
    return content


def has_vision_tower(folder: Path) -> bool:
    """Return whether the checkpoint's configuration has a vision tower."""
    return "vision_config" in read_config(folder)


def get_loader(folder: Path) -> Any:
    """Return the transformers class that loads the checkpoint with its language model head."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    return AutoModelForImageTextToText if has_vision_tower(folder) else AutoModelForCausalLM


def load_model(
    folder: Path,
    loader: Any,
    *,
    dtype: torch.dtype,
    attention: str | None = None,
    trust_remote_code: bool = False,
    ignored: Sequence[str] = (),
    key_mapping: Mapping[str, str] | None = None,
    quantization: Any = None,
) -> Any:
    """Load a model with `loader.from_pretrained`, in evaluation mode, on the CPU, without gradients.

    `ignored` lists regular expressions of weights that may be missing or unexpected because no score depends on them,
    `key_mapping` patterns of weights' names and what they become, `quantization` how transformers quantises the weights
    that it reads. AdapterError names the first other weight that is
    missing, unexpected or of another shape.
    """
    silence_transformers()
    find_weight_files(folder)
    options: dict[str, Any] = {"dtype": dtype, "local_files_only": True, "trust_remote_code": trust_remote_code}
    options["ignore_mismatched_sizes"] = True  # mismatched weights are then reported, and refused below by name
    if attention is not None:
        options["attn_implementation"] = attention
    if key_mapping is not None:
        options["key_mapping"] = dict(key_mapping)
    if quantization is not None:
        options["quantization_config"] = quantization
    try:
        model, info = loader.from_pretrained(folder, output_loading_info=True, **options)
    except Exception as error:
        raise AdapterError(f"{folder}: cannot be loaded: {to_one_line(f'{type(error).__name__}: {error}')}") from error
    _refuse_incomplete(folder, info, (RECOMPUTED, *ignored))
    refuse_untied(str(folder), model, ignored)
    refuse_dropped_quantization(str(folder), read_config(folder).get("quantization_config"), model)
    return model.eval().requires_grad_(False)


def _refuse_incomplete(folder: Path, info: Mapping[str, Any], ignored: Sequence[str]) -> None:
    def matter(kind: str) -> str | None:
        names = sorted(str(name[0] if isinstance(name, tuple) else name) for name in info[kind])
        left = [name for name in names if not any(re.search(pattern, name) for pattern in ignored)]
        return f"{left[0]} ({len(left)} such weights)" if left else None

    if missing := matter("missing_keys"):
        raise AdapterError(f"{folder}: holds no {missing}; it would be random, so it is refused")
    if other := matter("mismatched_keys"):
        raise AdapterError(f"{folder}: {other} has a shape that differs from its configuration")
    if left := matter("unexpected_keys"):
        raise AdapterError(f"{folder}: {left} is not part of the model that its configuration describes")
    if info.get("error_msgs"):
        raise AdapterError(f"{folder}: {to_one_line(info['error_msgs'][0])}")


def refuse_untied(where: str, model: Any, ignored: Sequence[str] = ()) -> None:
    """Refuse a weight that the configuration ties to another while the checkpoint holds both with different values.

    transformers 5 loads both, earlier releases only one of them, so it is unknown which model was trained.
    """
    for target, source in model.get_expanded_tied_weights_keys(all_submodels=True).items():
        if model.get_parameter_or_buffer(target) is model.get_parameter_or_buffer(source):
            continue
        if not any(re.search(pattern, name) for pattern in ignored for name in (target, source)):
            raise AdapterError(
                f"{where}: config.json ties {target} to {source} (tie_word_embeddings), but the checkpoint holds both, "
                "with different values: correct the configuration, or remove the weight that is not used"
            )


def refuse_dropped_quantization(where: str, stated: Any, model: Any) -> None:
    """Refuse a model whose configuration states a quantisation (`stated`) that transformers did not apply.

    It only warns where the device lacks the kernels, and loads plain or dequantised weights in a dtype of its own.
    """
    if stated and not getattr(model, "is_quantized", False):
        method = stated.get("quant_method") if isinstance(stated, dict) else getattr(stated, "quant_method", None)
        raise AdapterError(
            f"{where}: config.json says quantization_config ({to_one_line(method, 40)}), which is not applied on this "
            "machine: load the checkpoint that is not quantised"
        )


def read_weights(folder: Path, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Return the named tensors of a checkpoint's safetensors files. Raises AdapterError if one is missing."""
    from safetensors import safe_open

    found: dict[str, torch.Tensor] = {}
    for path in find_weight_files(folder):
        with safe_open(path, framework="pt") as file:
            held = set(file.keys())
            found.update({name: file.get_tensor(name) for name in names if name in held})
    absent = [name for name in names if name not in found]
    if absent:
        raise AdapterError(f"{folder}: holds no {absent[0]}; it would be random, so it is refused")
    return found


def read_first_weight(folder: Path, names: Sequence[str]) -> torch.Tensor:
    """Return the first of the named tensors that a checkpoint holds. Raises AdapterError if it holds none."""
    from safetensors import safe_open

    held: dict[str, Path] = {}
    for path in find_weight_files(folder):
        with safe_open(path, framework="pt") as file:
            held |= dict.fromkeys(file.keys(), path)
    name = next((name for name in names if name in held), names[0])
    return read_weights(folder, [name])[name]


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """Load the checkpoint's fast tokenizer."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
    except Exception as error:
        if (folder / "spiece.model").is_file():
            require(f"{folder}: its tokenizer", "sentencepiece", extra="siglip")
        raise AdapterError(f"{folder}: no tokenizer: {to_one_line(f'{type(error).__name__}: {error}')}") from error


def load_image_processor(folder: Path, min_pixels: int, max_pixels: int) -> Any:
    """Load the checkpoint's Qwen-VL image processor with these limits on the pixels of a resized image.

    It uses Pillow and numpy: torchvision's resizing, where installed, gives other pixels. Raises AdapterError if the
    processor does not resize to these limits.
    """
    # transformers prefers the older names, which real checkpoints contain, over `size`: so both are given.
    size = {"shortest_edge": min_pixels, "longest_edge": max_pixels}
    processor = _load_image_processor(folder, size=size, min_pixels=min_pixels, max_pixels=max_pixels)
    _verify_pixel_limits(folder, processor, min_pixels, max_pixels)
    return processor


def load_pixtral_processor(folder: Path, most: int | None, patch: int) -> Any:
    """Load the checkpoint's Pixtral image processor, on Pillow and numpy.

    Its own longest edge holds unless `most`, the most pixels of an image, is given: then the longest edge is the
    largest multiple of `patch` whose square is not over it. Raises AdapterError if the processor is of another kind.
    """
    from transformers import PixtralImageProcessorPil

    longest = None if most is None else max(1, math.isqrt(most) // patch) * patch
    processor = _load_image_processor(folder, **({} if longest is None else {"size": {"longest_edge": longest}}))
    if not isinstance(processor, PixtralImageProcessorPil) or not processor.size.get("longest_edge"):
        raise AdapterError(f"{folder}: {type(processor).__name__} is not a Pixtral image processor with a longest edge")
    return processor


def _verify_pixel_limits(folder: Path, processor: Any, min_pixels: int, max_pixels: int) -> None:
    """Refuse a processor with other limits, or one that resizes outside of them (tried with 1 and 2 x `max_pixels`
    pixels).
    """
    from PIL import Image

    kind = type(processor).__name__
    try:
        stated = (processor.size["shortest_edge"], processor.size["longest_edge"]) if processor.do_resize else ()
        fits = stated == (min_pixels, max_pixels)
        if fits:
            area, token = int(processor.patch_size) ** 2, (int(processor.patch_size) * int(processor.merge_size)) ** 2
            sides = (1, math.isqrt(2 * max_pixels) + 1)
            least, most = (processor.get_number_of_image_patches(side, side) * area for side in sides)
            (_, height, width) = processor(images=[Image.new("RGB", (1, 1))], return_tensors="np")["image_grid_thw"][0]
            # An image takes at least one token, whatever the limit.
            fits = height * width * area == least >= min_pixels and most <= max(max_pixels, token)
    except Exception as error:
        said = to_one_line(f"{type(error).__name__}: {error}", 160)
        raise AdapterError(f"{folder}: {kind} is not an image processor of the Qwen-VL kind: {said}") from error
    if not fits:
        own = f"its own limits are {stated[0]} and {stated[1]}" if stated else "do_resize is false"
        raise AdapterError(
            f"{folder}: {kind} does not resize images to between {min_pixels} and {max_pixels} pixels ({own}); see "
            "its preprocessor_config.json"
        )


def load_plain_image_processor(folder: Path, side: int) -> Any:
    """Load the checkpoint's image processor with its own sizes, on Pillow and numpy.

    Raises AdapterError if its output is not `side` x `side` pixels, the input size of the vision tower.
    """
    from PIL import Image

    processor = _load_image_processor(folder)
    shape = processor(images=Image.new("RGB", (40, 30)), return_tensors="np")["pixel_values"].shape
    if shape[2:] != (side, side):
        raise AdapterError(
            f"{folder}: {type(processor).__name__} makes images of {shape[3]} x {shape[2]} pixels, the vision tower "
            f"takes {side} x {side}; see its preprocessor_config.json"
        )
    return processor


def _load_image_processor(folder: Path, **options: Any) -> Any:
    from transformers import AutoImageProcessor, Qwen2VLImageProcessorPil
    from transformers.image_processing_base import ImageProcessingMixin

    silence_transformers()
    options["local_files_only"] = True
    try:
        stated, _ = ImageProcessingMixin.get_image_processor_dict(folder, local_files_only=True)
        if str(stated.get("image_processor_type")).removesuffix("Fast") == _UNRELEASED:
            return Qwen2VLImageProcessorPil.from_pretrained(folder, **options)
        return AutoImageProcessor.from_pretrained(folder, backend="pil", **options)
    except Exception as error:
        raise AdapterError(
            f"{folder}: no image processor: {to_one_line(f'{type(error).__name__}: {error}')}"
        ) from error


def get_device(name: str) -> torch.device:
    """Return the device for `name`; "auto" is cuda, else mps, else cpu. Raises AdapterError if it is not available."""
    import torch

    kind = name.partition(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        kind = name = next(k for k in ("cuda", "mps", "cpu") if there[k])
    if kind not in there:
        raise AdapterError(f"device={name!r}: wanted one of {', '.join(DEVICES)}")
    if not there[kind]:
        raise AdapterError(f"device={name}: this machine has none that torch {torch.__version__} can use")
    return torch.device(name)


def get_dtype(name: str, device: torch.device, others: Sequence[str] = ()) -> torch.dtype:
    """Return the dtype for `name`; "auto" is bfloat16 on a GPU and float32 elsewhere.

    `others` are names that the caller deals with; they stand for "auto" here.
    """
    import torch

    if name in others:
        name = "auto"
    if name not in DTYPES:
        raise AdapterError(f"dtype={name!r}: wanted one of {', '.join((*DTYPES, *others))}")
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    found: torch.dtype = getattr(torch, name)
    return found


def silence_transformers() -> None:
    """Turn off transformers' progress bars and advice: whatever matters is refused here with an error of its own."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()

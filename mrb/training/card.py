"""Model card of a trained model (README.md): data, settings, development results, test data found in training data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from mrb._util.files import write_bytes
from mrb._util.format import format_markdown_table
from mrb._util.home import expand_user
from mrb._util.redact import redact_text
from mrb.engine.head import ROWS_FILE
from mrb.training.data.contamination import format_unjudged
from mrb.training.encoder import LAYOUTS as ENCODER_LAYOUTS
from mrb.training.export import make_vllm_overrides
from mrb.training.model import find_layout
from mrb.training.recipe import LoadedRecipe, format_settings
from mrb.training.record import TrainingRecord, format_cuts
from mrb.training.snippet import make_snippet

TEMPLATE = Path(__file__).with_name("card.md.jinja")
_CHOSEN_BY = {"paper": "the paper", "ours": "MRB", "changed": "the user"}


def write_card(folder: Path, record: TrainingRecord) -> None:
    """Write the model card of the model in `folder`."""
    lines = [redact_text(line) for line in render_card(folder, record).split("\n")]
    write_bytes(folder / "README.md", "\n".join(lines).encode())


def render_card(folder: Path, record: TrainingRecord) -> str:
    """Return the card's text."""
    recipe, model, found = record.recipe, record.recipe.model, record.contamination
    results = [
        (
            result.task,
            f"{100 * result.value:.2f}",
            f"[{100 * result.low:.2f}, {100 * result.high:.2f}]",
            f"{100 * result.first_stage:.2f}",
            f"{100 * result.oracle:.2f}",
        )
        for result in record.results
    ]
    sources = [(s.name, f"{s.groups:,}", s.first_stage or "-", f"`{s.sha256[:16]}`") for s in record.sources]
    hits, unjudged = found.dropped.hits, found.dropped.unjudged_hits
    tasks = [(task, "checked", str(hits.get(task, 0)), str(unjudged.get(task, 0))) for task in found.checked]
    tasks += [(task, "unknown", "-", "-") for task in found.unknown]
    loaded = LoadedRecipe(record.name, recipe, record.changed)
    settings = [
        (f"`{name}`", f"`{shown}`" if shown else "", _CHOSEN_BY[loaded.find_origin(name)])
        for name, shown in format_settings(recipe)
    ]
    layout = find_layout(recipe)
    own_rows = (folder / ROWS_FILE).is_file() and layout not in ENCODER_LAYOUTS
    vision = (folder / "preprocessor_config.json").is_file()
    pixels = (model.min_pixels, model.max_pixels) if vision else None
    snippet = make_snippet(layout, folder=folder.name, max_length=model.max_length, pixels=pixels)
    on_hub = model.path is not None and not expand_user(model.path).is_dir()
    # Markdown, not HTML: escaping would show.
    markdown = Environment(autoescape=False, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)  # noqa: S701
    return markdown.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        record=record,
        recipe=recipe,
        model=model,
        sampling=recipe.sampling,
        found=found,
        folder=folder.name,
        base=model.name if model.revision is None else f"{model.name}@{model.revision}",
        base_model=json.dumps(model.path) if on_hub else None,
        lora=(folder / "adapter_config.json").is_file(),
        cross_encoder=(folder / "modules.json").is_file(),
        own_rows=own_rows,
        snippet=None if own_rows else snippet,
        vision=vision,
        encoder=layout in ENCODER_LAYOUTS,
        overrides=make_vllm_overrides(folder, layout),
        results=_format(("task", "model", "interval", "first stage", "best order"), results),
        sources=_format(("source", "groups", "first stage", "SHA-256 of the file"), sources),
        tasks=_format(("task", "state", "items met, dropped", "groups with its unjudged documents"), tasks),
        unjudged=format_unjudged(found.dropped),
        settings=_format(("setting", "value", "chosen by"), settings),
        cuts=format_cuts(record.documents, record.cut, record.emptied) if record.documents else None,
        packages=", ".join(f"{name} {number}" for name, number in sorted(record.packages.items())),
    )


def _format(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(format_markdown_table(header, rows)).rstrip("\n")

"""Model card of a trained model (README.md): data, settings, development results, test data found in training data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from mrb._util.files import write_bytes
from mrb._util.format import format_markdown_table
from mrb._util.home import expand_user
from mrb._util.redact import redact_text
from mrb.training.recipe import LoadedRecipe, settings
from mrb.training.record import TrainingRecord


def write_card(folder: Path, record: TrainingRecord) -> None:
    """Write the model card of the model in `folder`."""
    lines = [redact_text(line) for line in card(folder, record)]
    write_bytes(folder / "README.md", ("\n".join(lines) + "\n").encode())


def card(folder: Path, record: TrainingRecord) -> Iterator[str]:
    """Yield the card's lines."""
    lora = (folder / "adapter_config.json").is_file()
    yield from _header(record, "peft" if lora else "transformers")
    recipe = record.recipe
    yield f"# {record.name}"
    yield ""
    kind = "LoRA weights on" if lora else "A model trained from"
    yield f"{recipe.title}. {kind} `{_base(record)}`, trained with MRB {record.mrb_version}"
    yield f"by the recipe `{record.name}` for {record.steps:,} steps of {recipe.schedule.queries} queries."
    yield f"SHA-256 of its settings: `{record.recipe_sha256}`."
    yield ""
    yield from _use(folder, record)
    yield from _results(record)
    yield from _data(record)
    yield from _test_data(record)
    yield from _settings(record)
    yield "## Made with"
    yield ""
    yield ", ".join(f"{name} {number}" for name, number in sorted(record.packages.items())) + "."


def _header(record: TrainingRecord, library: str) -> Iterator[str]:
    yield "---"
    yield f"library_name: {library}"
    path = record.recipe.model.path
    if path is not None and not expand_user(path).is_dir():
        yield f"base_model: {json.dumps(path)}"
    yield "pipeline_tag: text-ranking"
    yield "tags: [reranker, mrb]"
    yield "---"


def _base(record: TrainingRecord) -> str:
    model = record.recipe.model
    return model.name if model.revision is None else f"{model.name}@{model.revision}"


def _use(folder: Path, record: TrainingRecord) -> Iterator[str]:
    model = record.recipe.model
    yield "## Use"
    yield ""
    yield "```console"
    yield (
        f"$ mrb run --model yes-no --set path={folder.name} --set layout={model.layout} "
        f"--set max_length={model.max_length} --set min_pixels={model.min_pixels} --set max_pixels={model.max_pixels}"
    )
    yield "```"
    yield ""
    if (folder / "modules.json").is_file():
        yield "As a CrossEncoder of sentence-transformers; the instruction is given as `prompt`, scores are raw logits:"
        yield ""
        yield "```python"
        yield "from sentence_transformers import CrossEncoder"
        yield ""
        yield f'CrossEncoder("{folder.name}").predict([("a query", "a document")], prompt="an instruction")'
        yield "```"
        yield ""
    if (folder / "label_rows.safetensors").is_file():
        yield "The label rows are not those of the model's head but in `label_rows.safetensors`, which MRB reads: other"
        yield "programs would score this model wrongly."
        yield ""


def _results(record: TrainingRecord) -> Iterator[str]:
    yield "## Results on development data"
    yield ""
    if not record.results:
        yield "None were asked for."
        yield ""
        return
    depth = record.recipe.evaluation.depth
    yield f"{record.results[0].measure} x 100 with 95 % intervals over queries, reranking the first {depth} candidates."
    yield "Settings may have been chosen on these; they are no test results."
    yield ""
    rows = [
        (
            result.task,
            f"{100 * result.value:.2f}",
            f"[{100 * result.low:.2f}, {100 * result.high:.2f}]",
            f"{100 * result.first_stage:.2f}",
            f"{100 * result.oracle:.2f}",
        )
        for result in record.results
    ]
    yield from format_markdown_table(("task", "model", "interval", "first stage", "best order"), rows)


def _data(record: TrainingRecord) -> Iterator[str]:
    sampling = record.recipe.sampling
    yield "## Training data"
    yield ""
    yield (
        f"{record.groups:,} groups. A step sees {sampling.positives} relevant document(s) and {sampling.negatives} "
        f"others of each, {100 * sampling.hard:.0f} % of them from the first stage's ranks {sampling.first_rank} to "
        f"{sampling.last_rank}."
    )
    yield ""
    rows = [(s.name, f"{s.groups:,}", s.first_stage or "-", f"`{s.sha256[:16]}`") for s in record.sources]
    yield from format_markdown_table(("source", "groups", "first stage", "SHA-256 of the file"), rows)


def _test_data(record: TrainingRecord) -> Iterator[str]:
    found = record.contamination
    dropped = found.dropped
    yield "## Test data in training data"
    yield ""
    yield (
        f"Every query and document was compared with the items of {len(found.checked)} tasks: texts in a normal form, "
        f"pictures by pixels. Dropped: {dropped.groups} groups, {dropped.positives} positives and {dropped.negatives} "
        "negatives. Of the tasks marked unknown nothing was at hand to compare with."
    )
    yield ""
    rows = [(task, "checked", str(dropped.hits.get(task, 0))) for task in found.checked]
    rows += [(task, "unknown", "-") for task in found.unknown]
    yield from format_markdown_table(("task", "state", "items met, dropped"), rows)


def _settings(record: TrainingRecord) -> Iterator[str]:
    loaded = LoadedRecipe(record.name, record.recipe, record.changed)
    words = {"paper": "the paper", "ours": "MRB", "changed": "the user"}
    yield "## Settings"
    yield ""
    rows = []
    for name, value in settings(record.recipe):
        shown = ", ".join(task.task for task in value) if name == "data.tasks" else str(value)
        rows.append((f"`{name}`", f"`{shown}`" if shown else "", words[loaded.origin(name)]))
    yield from format_markdown_table(("setting", "value", "chosen by"), rows)

"""A part of a step: chunks equal one graph, images once, no full logits, what learns and what must not."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mrb.engine.backbone import make_row
from mrb.errors import TrainingError
from mrb.training.data.prepare import prepare
from mrb.training.dataset import Batch, GroupDataset
from mrb.training.grad_cache import split_chunks
from mrb.training.losses import Contrastive, Supervised, split_groups
from mrb.training.model import describe_trained, find_layout
from mrb.training.trainer import GradientWatch
from tests.builders.steps import LOSSES, equal, stepped, warm
from tests.builders.training import batch_of, parts_of_recipe, recipe_of

pytestmark = pytest.mark.torch

Tiny = Callable[[str], Path]


@pytest.fixture(autouse=True)
def cache(training_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MRB_CACHE", str(training_cache))


@pytest.mark.parametrize("vision", ["frozen", "trained"])
@pytest.mark.parametrize("loss", LOSSES)
def test_chunks_equal_one_graph(made: Any, loss: str, vision: str) -> None:
    recipe, parts, batch = made(*LOSSES[loss], f"tuning.vision={vision}")
    warm(parts.learner)
    whole, wanted = stepped(recipe, parts, batch, 100_000)
    assert len(split_chunks(batch, 100_000)) == 1
    for tokens in (1, 700):
        assert len(split_chunks(batch, tokens)) >= 3
        done, found = stepped(recipe, parts, batch, tokens)
        equal(found, wanted)
        torch.testing.assert_close(done.value, whole.value, rtol=1e-4, atol=1e-5)
        assert done.drift == 0  # both passes go through the same chunks
        for one, other in zip(done.groups, whole.groups, strict=True):
            torch.testing.assert_close(one.yes, other.yes, rtol=1e-4, atol=1e-4)
            assert one.labels.equal(other.labels)
    if vision == "trained":
        assert any(".visual." in name and grad.abs().max() > 0 for name, grad in wanted.items())


def test_the_step_is_the_loss_of_the_logits_by_hand(made: Any) -> None:
    recipe, parts, batch = made("loss.name=contrastive", "model.layout=gmr-cl")
    assert parts.extractor is not None
    features = parts.extractor.features(batch.images)
    # One document at a time: nothing is padded.
    with torch.no_grad():
        logits = [parts.learner([make_row(prompt, features)], features) for prompt in batch.prompts]
    yes, no = (torch.cat([pair[i] for pair in logits]) for i in (0, 1))
    found = split_groups(yes, no, batch.labels, batch.sizes)
    done, _ = stepped(recipe, parts, batch, 700)
    assert done.value.item() == pytest.approx(Contrastive()(found).item(), rel=1e-4)
    assert Supervised()(done.groups).item() == pytest.approx(Supervised()(found).item(), rel=1e-4)


@pytest.mark.parametrize("loss", ["supervised", "contrastive"])
def test_parts_of_a_step_add_up_to_the_big_batch(made: Any, loss: str) -> None:
    recipe, parts, batch = made(*LOSSES[loss], rows=(0, 1, 3, 6))
    warm(parts.learner)
    whole, wanted = stepped(recipe, parts, batch, 100_000)
    total: dict[str, Tensor] = {}
    value = 0.0
    for rows in ((0, 1), (3, 6)):
        done, found = stepped(recipe, parts, batch_of(recipe, parts, rows), 700, queries=4)
        value += done.value.item()
        total = {name: grad + total.get(name, 0) for name, grad in found.items()}
    equal(total, wanted)
    assert value == pytest.approx(whole.value.item(), rel=1e-4)


def test_gradient_checkpointing_changes_nothing(made: Any) -> None:
    changes = ("tuning.vision=trained",)
    recipe, parts, batch = made(*changes)
    warm(parts.learner)
    _, wanted = stepped(recipe, parts, batch, 700)
    recipe, parts, batch = made(*changes, "memory.gradient_checkpointing=true")
    assert parts.learner.base.is_gradient_checkpointing
    warm(parts.learner)
    _, found = stepped(recipe, parts, batch, 700)
    equal(found, wanted, tolerance=1e-5)


def test_each_distinct_image_goes_through_the_tower_once_and_no_full_logits_are_made(made: Any) -> None:
    for vision in ("frozen", "trained"):
        recipe, parts, batch = made(*LOSSES["contrastive"], f"tuning.vision={vision}")
        distinct = {image.sha256 for image in batch.images}
        assert len(distinct) < len(batch.images)
        assert parts.extractor is not None
        seen: list[int] = []
        tower = parts.learner.tower
        assert tower is not None
        tower.register_forward_hook(lambda module, args, out: seen.append(args[0].shape[0]))  # noqa: B023
        head = parts.learner.base.get_output_embeddings()
        head.register_forward_hook(lambda *args: pytest.fail("the whole vocabulary's logits"))
        stepped(recipe, parts, batch, 700)
        by_key = {image.sha256: image for image in batch.images}
        wanted = sum(4 * parts.extractor.tokens(by_key[key]) for key in distinct)
        assert sum(seen) == wanted  # patches; two passes and several chunks, all the same


def test_a_frozen_tower_keeps_nothing_for_the_way_back(made: Any) -> None:
    from mrb.training.trainer import RerankerTrainer

    recipe, parts, batch = made()
    trainer = RerankerTrainer.__new__(RerankerTrainer)
    trainer.extractor, trainer.recipe = parts.extractor, recipe
    parts.learner.base.enable_input_require_grads()  # the hooks that make a tower's output ask for gradients
    features = trainer.compute_features(batch.images)
    assert features
    assert not any(one.embeds.requires_grad for one in features.values())


def test_a_frozen_tower_computes_in_half_precision_beside_a_whole_model_in_full(made: Any) -> None:
    changes = ["tuning.method=full", "memory.precision=bf16"]
    for vision, wanted in (("frozen", torch.bfloat16), ("trained", torch.float32)):
        _, parts, batch = made(*changes, f"tuning.vision={vision}")
        seen: set[torch.dtype] = set()
        for module in parts.learner.tower.modules():
            if isinstance(module, torch.nn.Linear):
                module.register_forward_hook(lambda module, given, out: seen.update({given[0].dtype, out.dtype}))  # noqa: B023
        parts.extractor.features(batch.images)
        assert seen == {wanted}
        decoder = parts.learner.base.model.language_model
        assert {values.dtype for values in decoder.parameters()} == {torch.float32}


def test_a_dataset_can_be_sent_to_a_process_that_is_not_forked(made: Any) -> None:
    recipe, parts, _ = made()
    dataset = GroupDataset(prepare(recipe.data).sources, 4, recipe, parts.prompter)
    there = pickle.loads(pickle.dumps(dataset))
    for place in range(4):
        one, other = dataset[place], there[place]
        assert isinstance(one, Batch) and isinstance(other, Batch)
        assert [prompt.ids.tolist() for prompt in one.prompts] == [prompt.ids.tolist() for prompt in other.prompts]


def test_lora_is_in_the_language_model_alone(made: Any) -> None:
    _, parts, _ = made()
    names = [name for name, _ in parts.learner.list_trained()]
    assert len(names) == 3 * 7 * 2
    assert all("language_model.layers" in name and ".lora_" in name for name in names)
    text = describe_trained(parts.learner)
    assert "LoRA in the language model" in text
    assert "down_proj 6" in text
    assert "vision tower" not in text


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (r".*\\.(gate_proj|down_proj)", "matches the vision tower"),
        ("nothing", "matches none of the model's"),
        ("(", "not a regular expression"),
    ],
)
def test_targets_that_go_astray_are_refused(made: Any, targets: str, words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        made(f'tuning.targets="{targets}"')


def test_full_training_leaves_tower_head_and_embeddings_unless_asked(made: Any) -> None:
    _, parts, _ = made("tuning.method=full")
    names = {name for name, _ in parts.learner.list_trained()}
    assert not any(word in name for name in names for word in ("visual", "lm_head", "embed_tokens", "rows."))
    assert any("layers.0.mlp" in name for name in names)
    _, parts, _ = made("tuning.method=full", "tuning.embeddings=trained", "tuning.vision=trained")
    more = {name for name, _ in parts.learner.list_trained()}
    assert any("embed_tokens" in name for name in more)
    assert any(".visual." in name for name in more)
    assert not any("lm_head" in name for name in more)


def test_label_rows_learn_apart_from_a_tied_head(made: Any) -> None:
    recipe, parts, batch = made("rows.trainable=true", architecture="qwen2_vl")
    base = parts.learner.base
    assert base.get_output_embeddings().weight is base.get_input_embeddings().weight
    before = base.get_input_embeddings().weight.detach().clone()
    _, grads = stepped(recipe, parts, batch, 700)
    assert grads["rows.yes"].abs().max() > 0
    assert grads["rows.no"].abs().max() > 0
    torch.optim.SGD(parts.learner.parameters(), lr=1.0).step()
    assert base.get_input_embeddings().weight.equal(before)
    assert not parts.learner.rows.yes[0].equal(before[parts.prompter.tokenizer.convert_tokens_to_ids("yes")])


def test_a_row_that_the_loss_does_not_see_does_not_learn(made: Any) -> None:
    _, parts, _ = made(*LOSSES["contrastive"], "rows.start=random")
    assert parts.learner.rows.yes.requires_grad
    assert not parts.learner.rows.no.requires_grad


def test_two_passes_refuse_a_model_with_dropout(made: Any, tmp_path: Path, tiny: Tiny, groups: Path) -> None:
    import json
    import shutil

    folder = tmp_path / "dropping"
    shutil.copytree(tiny("qwen2"), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"attention_dropout": 0.1}))
    for loss, refused in (("contrastive", True), ("supervised", False)):
        layout = "gmr-cl" if refused else "gmr"
        recipe = recipe_of(tmp_path, folder, groups, [f"loss.name={loss}", f"model.layout={layout}"]).recipe
        if refused:
            with pytest.raises(TrainingError, match="attention_dropout"):
                parts_of_recipe(recipe)
        else:
            parts_of_recipe(recipe)


def test_a_layout_that_ranks_by_another_logit_is_refused(made: Any) -> None:
    with pytest.raises(TrainingError, match=r"ranks by its difference logit.*gmr-cl"):
        made("loss.name=contrastive")
    with pytest.raises(TrainingError, match="'none-such': wanted one of"):
        made("model.layout=none-such")
    recipe, _, _ = made()
    assert find_layout(recipe).name == "gmr"


def test_images_are_never_cut(made: Any) -> None:
    _, parts, batch = made("model.max_length=152")
    assert parts.extractor is not None
    lengths = [len(prompt.ids) for prompt in batch.prompts]
    assert max(lengths) == 152
    assert any(prompt.cut for prompt in batch.prompts)
    for prompt in batch.prompts:
        for placed in prompt.images:
            assert placed.count == parts.extractor.tokens(placed.image)
            ids = prompt.ids[placed.start : placed.start + placed.count]
            assert (ids == parts.prompter.tokenizer.convert_tokens_to_ids("<|image_pad|>")).all()


def test_what_has_no_gradient_is_named(made: Any) -> None:
    recipe, parts, batch = made("tuning.vision=trained")
    warm(parts.learner)
    stepped(recipe, parts, batch, 700)
    good = GradientWatch(parts.learner)
    good.check(images=True, last=True)
    dead = GradientWatch(parts.learner)
    for name, values in parts.learner.named_parameters():
        if "visual.blocks.0" in name:
            values.grad = None
    with pytest.raises(TrainingError, match=r"visual\.blocks\.0.* had no gradient"):
        dead.check(images=True, last=True)
    without = GradientWatch(parts.learner)
    without.check(images=False, last=True)  # no image yet: the tower may wait


def test_a_loss_that_is_no_number_stops_the_run(made: Any) -> None:
    recipe, parts, batch = made()
    with torch.no_grad():
        parts.learner.rows.yes.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"the loss is nan: lower schedule\.learning_rate"):
        stepped(recipe, parts, batch, 700)

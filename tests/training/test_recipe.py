"""Recipes: those that ship, what they inherit, what a user changes, what is refused. None of it needs torch."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mrb.errors import TrainingError
from mrb.training.recipe import LANGUAGE_MODEL, list_recipes, list_settings, load_recipe
from mrb.training.recipe_content import RECIPES

MINIMAL = 'schema_version = 1\ntitle = "t"\n[model]\npath = "m"\n[data]\ngroups = ["g.jsonl"]\n'


def written(tmp_path: Path, text: str, name: str = "mine") -> str:
    path = tmp_path / f"{name}.toml"
    path.write_text(text)
    return str(path)


OWN = {"gmr-tiny", "tiny-arm"}
"""Recipes of no paper, which start from random weights."""


@pytest.mark.parametrize("name", sorted(OWN))
def test_the_tiny_recipes_start_from_a_shape_that_ships(name: str) -> None:
    recipe = load_recipe(name).recipe
    assert recipe.paper == ()
    assert recipe.model.path is None
    assert (RECIPES / "shapes" / str(recipe.model.shape) / "config.json").is_file()
    assert recipe.model.layout == ("gmr-tiny-cl" if recipe.loss.along == "cl" else "gmr-tiny")


@pytest.mark.parametrize("name", sorted({*list_recipes()} - OWN))
def test_every_recipe_that_ships_is_whole(name: str) -> None:
    loaded = load_recipe(name)
    known = dict(list_settings(loaded.recipe))
    assert loaded.recipe.paper
    assert all(setting in known for setting in loaded.recipe.paper)
    assert loaded.recipe.model.revision is not None
    assert (RECIPES / "shapes" / str(loaded.recipe.model.shape) / "config.json").is_file()
    # A model ranks by what its loss moves.
    assert loaded.recipe.model.layout == ("gmr-cl" if loaded.recipe.loss.along == "cl" else "gmr")
    assert (RECIPES / f"{name}.toml").read_text().startswith("# ")


def test_the_recipes_are_the_arms_of_the_paper() -> None:
    recipes = {name: load_recipe(name).recipe for name in list_recipes()}
    sft = recipes["gmr-3b-sft"]
    assert (sft.tuning.method, sft.tuning.rank, sft.schedule.learning_rate) == ("lora", 16, 1e-4)
    assert (sft.memory.precision, sft.model.max_length) == ("bf16", 3200)
    assert (sft.sampling.negatives, sft.sampling.hard) == (16, 0.5)
    assert recipes["gmr-7b-sft"].model.path == "Qwen/Qwen2.5-VL-7B-Instruct"
    assert recipes["gmr-3b-cl"].loss.name == "contrastive"
    grid = {(recipes[f"url-{w}-{d}"].loss.weight, recipes[f"url-{w}-{d}"].loss.direction) for w, d in PAIRS}
    assert grid == set(PAIRS)
    assert all(recipes[f"url-{w}-{d}"].sampling.negatives == 4 for w, d in PAIRS)
    assert [recipes[f"negatives-{n}"].sampling.negatives for n in (2, 4, 8, 16)] == [2, 4, 8, 16]
    assert {recipes[f"weight-{w}"].loss.weight for w in ("base", "masked")} == {"base", "masked"}
    assert recipes["direction-random-cl"].rows.start == recipes["direction-random-sft"].rows.start == "random"
    assert len(recipes["direction-tokens"].rows.yes) > 1
    assert recipes["head-cl"].rows.trainable
    assert recipes["head-sft"].rows.trainable


PAIRS = [("sft", "sft"), ("sft", "cl"), ("cl", "sft"), ("cl", "cl")]


def test_arms_differ_from_each_other_in_their_arm_alone() -> None:
    plain = dict(list_settings(load_recipe("url-sft-sft").recipe))
    for name, differ in {
        "url-sft-cl": {"loss.direction", "model.layout"},
        "url-cl-sft": {"loss.weight"},
        "url-cl-cl": {"loss.weight", "loss.direction", "model.layout"},
        "weight-base": {"loss.weight"},
        "weight-masked": {"loss.weight", "loss.tau"},
        "negatives-8": {"loss.name", "loss.weight", "loss.direction", "sampling.negatives"},
    }.items():
        other = dict(list_settings(load_recipe(name).recipe))
        assert {setting for setting, value in plain.items() if other[setting] != value} == differ, name


def test_who_chose_a_setting_is_known() -> None:
    loaded = load_recipe("gmr-3b-sft", ["schedule.learning_rate=2e-5", "schedule.steps=10"])
    assert loaded.find_origin("tuning.rank") == "paper"
    assert loaded.find_origin("tuning.alpha") == "ours"
    assert loaded.find_origin("schedule.learning_rate") == "changed"
    assert loaded.recipe.schedule.learning_rate == 2e-5
    assert loaded.sha256 != load_recipe("gmr-3b-sft").sha256


def test_changes_are_toml_or_text_and_none_leaves_out() -> None:
    recipe = load_recipe(
        "gmr-3b-sft",
        ["model.path=some/where", "data.groups=['a.jsonl', 'b.jsonl']", "data.tasks=[]", "model.revision=none"],
    ).recipe
    assert recipe.model.path == "some/where"
    assert recipe.model.revision is None
    assert recipe.data.groups == ("a.jsonl", "b.jsonl")


def test_naming_another_loss_drops_the_settings_of_the_first() -> None:
    loss = load_recipe("url-cl-sft", ["loss.name=supervised"]).recipe.loss
    assert (loss.name, loss.weight, loss.direction) == ("supervised", None, None)


def test_a_recipe_extends_one_beside_it(tmp_path: Path) -> None:
    written(tmp_path, MINIMAL + "[schedule]\nsteps = 5\nseed = 1\n", "below")
    path = written(tmp_path, 'extends = "below"\ntitle = "over"\n[schedule]\nseed = 2\n')
    recipe = load_recipe(path).recipe
    assert (recipe.title, recipe.schedule.steps, recipe.schedule.seed) == ("over", 5, 2)


BAD: dict[str, tuple[str, str]] = {
    "unknown key": ("[schedule]\nsped = 3\n", "schedule.sped: unknown field"),
    "unknown section": ("[shedule]\nseed = 3\n", "shedule: unknown field"),
    "no such paper setting": ('paper = ["tuning.rnak"]\n', "paper names 'tuning.rnak'"),
    "dropout in two passes": ('[tuning]\ndropout = 0.1\n[loss]\nname = "contrastive"\n', "tuning.dropout must be 0"),
    "embeddings with lora": ('[tuning]\nembeddings = "trained"\n', "method 'full' only"),
    "masked without tau": ('[loss]\nname = "unified"\nweight = "masked"\ndirection = "sft"\n', "tau is given"),
    "weight without unified": ('[loss]\nweight = "cl"\n', "weight and direction"),
    "half of unified": ('[loss]\nname = "unified"\nweight = "cl"\n', "weight and direction"),
    "temperature without use": ("[loss]\ntemperature = 2.0\n", "has no temperature"),
    "reduction of contrastive": ('[loss]\nname = "contrastive"\nreduction = "mean"\n', "neither reduction"),
    "one label": ('[rows]\nyes = ["a"]\n', "for both labels"),
    "random rows of tokens": ('[rows]\nstart = "random"\nyes = ["a"]\nno = ["b"]\n', "have no tokens"),
    "uneven parts": ("[schedule]\nqueries = 5\n[memory]\nqueries = 2\n", "not a multiple of memory.queries"),
    "pixels": ("min_pixels = 5000000\n", "is over max_pixels"),
    "no data": ("groups = []\n", "give groups or tasks"),
    "patience with none": ("[evaluation]\nevery = 5\npatience = 2\n", "patience needs tasks, and every"),
    "merge of none": ('[tuning]\nmethod = "full"\n[output]\nmerge = true\n', "output.merge is for LoRA weights"),
    "best of none": ("[evaluation]\nevery = 5\nkeep_best = true\n", "keep_best needs tasks, and every"),
    "unknown report": ('[output]\nreport_to = ["mail"]\n', "report_to"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_meant_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    text, words = BAD[case]
    whole = {
        "pixels": MINIMAL.replace("[data]", text + "[data]"),
        "no data": MINIMAL.replace('groups = ["g.jsonl"]\n', text),
        "no such paper setting": text + MINIMAL,
    }.get(case, MINIMAL + text)
    with pytest.raises(TrainingError) as caught:
        load_recipe(written(tmp_path, whole))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_and_changes_that_are_none_are_refused(tmp_path: Path) -> None:
    cases: list[tuple[str, list[str], str]] = [
        ("no-such", [], "no recipe 'no-such': give a .toml file or one of analysis"),
        ("gmr-3b-sft", ["steps=3"], "wanted SECTION.NAME=VALUE"),
        ("gmr-3b-sft", ["schedule.steps"], "wanted SECTION.NAME=VALUE"),
        ("gmr-3b-sft", ["title.x=3"], "title is not a section"),
        ("gmr-3b-sft", ["schedule.steps=0"], "schedule.steps"),
        (written(tmp_path, "x = ["), [], "mine.toml"),
        (written(tmp_path, 'extends = "round"\n', "round"), [], "extends itself"),
        (written(tmp_path, 'extends = "nothing"\n', "lost"), [], "there is no such recipe"),
    ]
    for name, changes, words in cases:
        with pytest.raises(TrainingError) as caught:
            load_recipe(name, changes)
        assert words in str(caught.value)


def test_lora_goes_into_the_language_model_whatever_the_model_is_called() -> None:
    inside = (
        "model.language_model.layers.0.self_attn.q_proj",
        "model.language_model.layers.35.mlp.down_proj",
        "model.layers.2.self_attn.o_proj",
    )
    outside = (
        "model.visual.blocks.0.mlp.gate_proj",
        "model.visual.blocks.0.mlp.down_proj",
        "model.visual.blocks.3.attn.proj",
        "model.visual.merger.mlp.0",
        "lm_head",
    )
    assert all(re.fullmatch(LANGUAGE_MODEL, name) for name in inside)
    assert not any(re.fullmatch(LANGUAGE_MODEL, name) for name in outside)


def test_recipes_and_help_need_no_torch() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from mrb.cli.main import cli\n"
        "out = [CliRunner().invoke(cli, a, standalone_mode=False).output for a in (['train', '--help'], "
        "['train', 'data', '--help'], ['train', 'gmr-3b-sft', '--help'])]\n"
        "from mrb.training.recipe import load_recipe; load_recipe('gmr-3b-sft')\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
        "print('|'.join(out))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    whole, data, recipe = done.stdout.split("|Usage")
    assert "RECIPE" in whole
    assert "--first-stage" in data
    assert "--dry-run" in recipe


def test_package_data_holds_every_recipe(tmp_path: Path) -> None:
    import configparser

    config = configparser.ConfigParser()
    root = Path(__file__).parents[2]
    config.read(root / "setup.cfg")
    patterns: list[Any] = [p.strip() for p in config["options.package_data"]["mrb.training"].split(",")]
    covered = {path for pattern in patterns for path in (root / "mrb" / "training").glob(pattern)}
    wanted = {path for path in RECIPES.rglob("*") if path.is_file()}
    assert wanted == covered - set(RECIPES.parent.glob("*.jinja"))

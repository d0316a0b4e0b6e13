"""From a folder of one's own to a board, and the same run where the folder is not."""

from __future__ import annotations

import html
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mrb.data.own_tasks import load_folder_task
from tests.builders.command import Done, read_refusal, run_mrb
from tests.builders.data_folders import write_beir, write_captioned_images, write_lines, write_trec
from tests.builders.hub.server import Hub

pytestmark = pytest.mark.slow

COLOURS = ["red", "green", "blue", "yellow", "black", "white", "orange", "purple", "pink", "brown"]
THINGS = ["chair", "lamp", "table", "sofa", "shelf", "mirror", "carpet", "clock", "vase", "stool"]


def write_shop(folder: Path) -> Path:
    """50 queries, 300 documents (100 of them with a PNG), graded judgements in a TSV, and a TREC run."""
    from PIL import Image

    (folder / "images").mkdir(parents=True)
    documents = [{"_id": f"d{n}", "text": f"{COLOURS[n % 10]} {THINGS[n // 10 % 10]} number {n}"} for n in range(300)]
    for number in range(0, 300, 3):
        Image.new("RGB", (24, 24), (number % 256, 40, 90)).save(folder / "images" / f"p{number}.png")
        documents[number]["image"] = f"images/p{number}.png"
    write_lines(folder / "corpus.jsonl", documents)
    queries = {f"q{n}": f"{COLOURS[n % 10]} {THINGS[n // 10 % 10]}" for n in range(50)}
    write_lines(folder / "queries.jsonl", [{"_id": name, "text": text} for name, text in queries.items()])
    qrels, lists, choose = ["query-id\tcorpus-id\tscore\n"], {}, random.Random(1)
    for name, text in queries.items():
        relevant = [row["_id"] for row in documents if row["text"].startswith(f"{text} ")]
        qrels += [f"{name}\t{doc}\t{2 if place == 0 else 1}\n" for place, doc in enumerate(relevant)]
        rest = choose.sample([row["_id"] for row in documents if row["_id"] not in relevant], 27)
        lists[name] = choose.sample(found := [*relevant, *rest], len(found))
    (folder / "qrels.tsv").write_text("".join(qrels))
    write_trec(folder / "run.trec", lists)
    return folder


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shop's data, two runs on it, and their board: three commands, no file written by hand."""
    home = tmp_path_factory.mktemp("home")
    write_shop(home / "shop")
    for model in ("surface", "random"):
        done = run_mrb(home, "run", "--model", model, "--data", "shop")
        assert done.returncode == 0, done.stderr
        assert "shop" in done.stdout and "t2it" in done.stdout
    done = run_mrb(home, "leaderboard", "build", "runs/surface", "runs/random", "--out", "site")
    assert done.returncode == 0, done.stderr
    return home


@pytest.fixture
def elsewhere(shop: Path, tmp_path: Path) -> Callable[..., Done]:
    """`elsewhere(*arguments)`: `mrb` in a folder with the runs alone, without the data, its cache or MRB_TASKS."""
    shutil.copytree(shop / "runs", tmp_path / "runs")
    return lambda *arguments: run_mrb(tmp_path, *arguments, MRB_CACHE=str(tmp_path / "cache"), MRB_TASKS="")


def test_a_run_holds_the_definition_and_no_path(shop: Path) -> None:
    record = json.loads((shop / "runs" / "surface" / "run.json").read_text())
    assert record["definitions"]["shop"]["type"] == "t2it"
    assert str(shop) not in (shop / "runs" / "surface" / "run.json").read_text()
    assert "shop" in (shop / "site" / "index.html").read_text()


def test_runs_are_compared_exported_and_shown_where_the_data_is_not(
    elsewhere: Callable[..., Done], shop: Path, tmp_path: Path
) -> None:
    done = elsewhere("compare", "runs/random", "runs/surface")
    assert done.returncode == 0 and "shop" in done.stdout, done.stderr
    for form in ("csv", "latex", "trec"):
        done = elsewhere("export", "runs/surface", "--format", form)
        assert done.returncode == 0 and done.stdout, done.stderr
    assert elsewhere("run", "--model", "constant", "--task", "mini-flag-t2i", "--limit", "3").returncode == 0
    done = elsewhere("export", "runs/surface", "runs/constant", "--format", "markdown")
    assert done.returncode == 0 and "| average over 2 tasks |" in done.stdout, done.stderr
    done = elsewhere("leaderboard", "build", "runs/surface", "runs/random", "--out", "site")
    assert done.returncode == 0, done.stderr
    for page in ("index.html", "tasks.html"):
        assert (tmp_path / "site" / page).read_text() == (shop / "site" / page).read_text()
    assert "your own" not in elsewhere("submission", "validate", "runs/surface").stderr


def test_what_needs_the_data_asks_for_it(elsewhere: Callable[..., Done], shop: Path) -> None:
    done = elsewhere("recompute", "runs/surface")
    assert done.returncode == 2 and "its data was not given: give --data" in done.stderr
    done = elsewhere("recompute", "runs/surface", "--data", shop / "shop")
    assert done.stdout == "shop: identical\n", done.stderr
    assert "shop: t2it, 50 queries, 300 documents (100 with images)\n" in done.stderr
    listed = ("--first-stage", "colour-words", "--depth", "25", "--candidate-set", "own", "--out", "lists")
    assert elsewhere("candidates", "make", "--task", "mini-flag-t2i", *listed).returncode == 0
    done = elsewhere("run", "--model", "surface", "--task", "mini-flag-t2i", "--candidates", "lists")
    assert "shop: its scores are kept, but not checked: its data was not given: give --data FOLDER, or" in done.stderr


def test_a_submission_is_validated_with_and_without_the_data(elsewhere: Callable[..., Done], shop: Path) -> None:
    make = ("submission", "make", "runs/surface", "--organisation", "me", "--model-name", "surface")
    read_refusal(elsewhere(*make), "its data was not given")
    assert elsewhere(*make, "--data", shop / "shop").returncode == 0
    done = elsewhere("submission", "validate", "submissions/me__surface")
    assert done.returncode == 2 and "its data is not here" in done.stdout
    done = elsewhere("submission", "validate", "submissions/me__surface", "--allow-not-recomputed")
    assert "valid: me__surface, 0 of 1 task recomputed, own" in done.stdout, done.stderr
    done = elsewhere("submission", "validate", "submissions/me__surface", "--data", shop / "shop")
    assert "valid: me__surface, 1 of 1 task recomputed, own" in done.stdout, done.stderr
    done = elsewhere("leaderboard", "build", "submissions", "runs/random", "--out", "site")
    assert done.returncode == 0, done.stderr


def test_a_submission_is_validated_by_a_judgement_pack_alone(
    elsewhere: Callable[..., Done], shop: Path, tmp_path: Path
) -> None:
    data = ("--data", shop / "shop")
    assert elsewhere(
        "submission", "make", "runs/surface", "--organisation", "me", "--model-name", "surface", *data
    ).returncode == 0  # fmt: skip
    done = elsewhere("candidates", "pack", "shop", *data, "--out", "packs")
    assert done.stdout.startswith("packs/shop.judgements: 50 queries, "), done.stderr
    shutil.rmtree(tmp_path / "cache")
    done = elsewhere("submission", "validate", "submissions/me__surface", "--candidates", "packs")
    assert "shop: recomputed from the judgement pack packs/shop.judgements" in done.stdout, done.stderr
    assert "valid: me__surface, 1 of 1 task recomputed, own" in done.stdout
    path = tmp_path / "submissions" / "me__surface" / "submission.json"
    stated = json.loads(path.read_text())
    stated["results"]["shop"]["measures"]["MRR@10"]["mean"] += 1e-6
    path.write_text(json.dumps(stated))
    done = elsewhere("submission", "validate", "submissions/me__surface", "--candidates", "packs")
    assert done.returncode == 2 and "results.shop.measures.MRR@10.mean is " in done.stderr


def test_a_definition_that_does_not_fit_its_results_is_refused(elsewhere: Callable[..., Done], tmp_path: Path) -> None:
    path = tmp_path / "runs" / "surface" / "run.json"
    record = json.loads(path.read_text())
    record["definitions"]["shop"]["instruction"] = "Find another thing."
    path.write_text(json.dumps(record))
    read_refusal(elsewhere("compare", "runs/random", "runs/surface"), "task_hash is")
    record["definitions"]["shop"]["source"]["kind"] = "embedded"
    path.write_text(json.dumps(record))
    read_refusal(elsewhere("compare", "runs/random", "runs/surface"), "only the registry's tasks have embedded data")


def test_one_id_with_two_definitions_is_never_mixed(shop: Path, tmp_path: Path) -> None:
    shutil.copytree(shop / "shop", tmp_path / "shop")
    (tmp_path / "shop" / "task.toml").write_text('instruction = "Find the furniture that the query names."\n')
    assert run_mrb(tmp_path, "run", "--model", "random", "--data", "shop", "--name", "other").returncode == 0
    runs = (shop / "runs" / "random", tmp_path / "runs" / "other")
    read_refusal(run_mrb(tmp_path, "compare", *runs), "not comparable", "task_hash")
    done = run_mrb(tmp_path, "leaderboard", "build", *runs, "--out", "site")
    assert done.returncode == 0, done.stderr
    page = html.unescape((tmp_path / "site" / "index.html").read_text())
    assert "the task's definition" in page


def test_workers_find_the_folder_too(shop: Path, tmp_path: Path) -> None:
    done = run_mrb(tmp_path, "run", "--model", "surface", "--data", shop / "shop", "--workers", 2)
    assert done.returncode == 0, done.stderr
    for name in ("result.json", "scores.parquet"):
        ours, theirs = tmp_path / "runs" / "surface" / "shop" / name, shop / "runs" / "surface" / "shop" / name
        assert ours.read_bytes() == theirs.read_bytes()


def test_init_says_what_the_data_is_and_the_run_takes_its_file(tmp_path: Path) -> None:
    write_captioned_images(tmp_path / "captions")
    done = run_mrb(tmp_path, "data", "init", "captions", "--id", "own-flags", "--instruction", "Find the flag.")
    assert done.returncode == 0, done.stderr
    for words in ("own-flags: captions/task.toml", "t2i: text to image", "20 with a relevant", "give --first-stage"):
        assert words in done.stdout
    run = ("run", "--model", "surface", "--task", "captions/task.toml")
    read_refusal(run_mrb(tmp_path, *run), "its data has no candidate list", "--first-stage")
    done = run_mrb(tmp_path, *run, "--first-stage", "colour-words")
    assert done.returncode == 0 and "own-flags" in done.stdout, done.stderr
    done = run_mrb(tmp_path, "tasks", "own-flags", MRB_TASKS=str(tmp_path))
    assert "Find the flag." in done.stdout and "your own, not in the registry" in done.stdout, done.stderr
    assert "own-flags" in run_mrb(tmp_path, "tasks", MRB_TASKS=str(tmp_path / "captions")).stdout
    done = run_mrb(tmp_path, "recompute", "runs/surface", "--data", "captions")
    assert done.stdout == "own-flags: identical\n", done.stderr


def test_shards_of_own_data_are_merged(shop: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        command = ("run", "--model", "surface", "--data", shop / "shop", "--shard", f"{number}/2")
        assert run_mrb(tmp_path, *command).returncode == 0
    shards = sorted((tmp_path / "runs" / "surface" / "shards").iterdir())
    done = run_mrb(tmp_path, "merge", *shards, "--out", "whole", "--data", shop / "shop")
    assert done.returncode == 0, done.stderr
    ours, theirs = tmp_path / "whole" / "shop" / "result.json", shop / "runs" / "surface" / "shop" / "result.json"
    assert ours.read_bytes() == theirs.read_bytes()


def test_other_tools_scores_and_checks_take_own_data(shop: Path, tmp_path: Path) -> None:
    done = run_mrb(tmp_path, "score", shop / "shop" / "run.trec", "--task", shop / "shop", "--out", "runs")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "runs" / "run" / "run.json").read_text())["definitions"]["shop"]
    done = run_mrb(tmp_path, "check", "surface", "--task", f"{shop / 'shop'}")
    assert done.returncode == 0, done.stderr


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "beers").mkdir()
    write_beir(tmp_path / "beers")
    (tmp_path / "beers" / "qrels" / "test.tsv").write_text("q1\tdoc1\t1\nq1\tdoc9\t1\n")
    read_refusal(run_mrb(tmp_path, "run", "--model", "random", "--data", "beers"), "test.tsv, line 2", "'doc9'")
    read_refusal(run_mrb(tmp_path, "run", "--model", "random", "--data", "none"), "none: no such folder")
    both = ("--suite", "mini", "--data", "beers")
    (tmp_path / "beers" / "qrels" / "test.tsv").write_text("q1\tdoc1\t1\n")
    read_refusal(run_mrb(tmp_path, "run", "--model", "random", *both), "give either --suite or --data")


@pytest.mark.hub
def test_a_data_set_of_the_hub_is_a_task_by_its_address(
    hub: Hub, tmp_path: Path, mrb_on_hub: Callable[..., Done], all_files: dict[tuple[str, str], dict[str, bytes]]
) -> None:
    (folder := tmp_path / "source").mkdir()
    write_beir(folder)
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    commit = "5" * 40
    hub.repositories["someone/own-ales", commit] = files
    address = f"hf://datasets/someone/own-ales@{commit}"
    done = mrb_on_hub("run", "--model", "bm25", "--data", address, "--first-stage", "bm25")
    assert done.returncode == 0 and "own-ales" in done.stdout, done.stderr
    line = "own-ales (the data set someone/own-ales): t2t, 2 queries, 3 documents; columns not read: metadata\n"
    assert done.stderr.count(line) == 1
    record = json.loads((tmp_path / "runs" / "bm25" / "run.json").read_text())
    (part,) = record["definitions"]["own-ales"]["source"]["parts"]
    assert (part["repository"], part["revision"]) == ("someone/own-ales", commit)
    assert record["definitions"]["own-ales"]["type"] == load_folder_task(folder).type == "t2t"
    done = mrb_on_hub("run", "--model", "bm25", "--data", "hf://datasets/someone/own-ales")
    assert done.returncode == 2 and "data is named at a commit" in done.stderr
    nothing = files | {"qrels/test.tsv": b"query-id\tcorpus-id\tscore\nq1\tdoc1\t0\n"}
    hub.repositories["someone/own-ales", "6" * 40] = nothing
    done = mrb_on_hub("run", "--model", "bm25", "--data", f"hf://datasets/someone/own-ales@{'6' * 40}")
    read_refusal(done, "someone/own-ales", "no query has a relevant document")


def test_python_and_the_command_write_the_same_result(shop: Path, tmp_path: Path) -> None:
    import mrb

    mrb.evaluate("surface", data=shop / "shop", out=tmp_path / "runs")
    for name in ("result.json", "scores.parquet", "per_query.parquet"):
        ours, theirs = tmp_path / "runs" / "surface" / "shop" / name, shop / "runs" / "surface" / "shop" / name
        assert ours.read_bytes() == theirs.read_bytes(), name


def test_a_definition_is_text_on_the_board(shop: Path, tmp_path: Path) -> None:
    shutil.copytree(shop / "shop", tmp_path / "shop")
    script = "<img src=x onerror=alert(1)>"
    stated = "".join(
        f'{name} = "{script}"\n' for name in ("title", "instruction", "description", "citation", "licence")
    )
    (tmp_path / "shop" / "task.toml").write_text(stated)
    assert run_mrb(tmp_path, "run", "--model", "random", "--data", "shop").returncode == 0
    assert run_mrb(tmp_path, "leaderboard", "build", "runs/random", "--out", "site").returncode == 0
    pages = [page.read_text() for page in (tmp_path / "site").rglob("*.html")]
    assert any("&lt;img src=x" in page for page in pages)
    assert not any(script in page for page in pages)


def test_own_data_does_not_enter_the_run_of_a_suite(shop: Path, tmp_path: Path) -> None:
    suite = ("run", "--model", "constant", "--suite", "mini", "--task", "mini-flag-t2i")
    own = ("run", "--model", "constant", "--data", shop / "shop")
    assert run_mrb(tmp_path, *suite).returncode == 0
    read_refusal(run_mrb(tmp_path, *own), "task shop is not in suite mini", "--name or --out")
    assert run_mrb(tmp_path, *own, "--out", "own").returncode == 0
    read_refusal(run_mrb(tmp_path, *suite, "--out", "own"), "task shop is not in suite mini")
    read_refusal(run_mrb(tmp_path, *own, "--task", "mini-flag-t2i", "--out", "both"), "different depths", "--depth")

"""`mrb submission make` of real runs: what goes in, what stays at home, what is refused and why."""

from __future__ import annotations

import json
import shutil
import socket
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from mrb.data.task import load_suite
from mrb.errors import MRBError, ResultError
from mrb.evaluation.run import run
from mrb.evaluation.spec import select_tasks
from mrb.submission.build import ModelDeclaration, build_submission, parse_size, read_training
from mrb.submission.private_text import clean_command, clean_environment, clean_options, find_private_text
from mrb.submission.reader import read_submission_folder
from mrb.submission.schema import Mark, ModelCard
from mrb.submission.validate import validate_submission
from tests.builders.logs import logged
from tests.builders.run_folders import write_run_folder
from tests.builders.submissions import submitted, trial_run

TASK = "mini-faq-t2t"
MINI = load_suite("mini")


# What goes in


def test_a_submission_is_what_the_journal_gives_and_nothing_of_the_machine(trial: Path, pristine: Path) -> None:
    assert sorted(path.relative_to(pristine).as_posix() for path in pristine.rglob("*")) == [
        "rankings",
        f"rankings/{TASK}.parquet",
        "submission.json",
    ]
    made = read_submission_folder(pristine).submission
    result = json.loads((trial / TASK / "result.json").read_text())
    assert made.results[TASK].model_dump(mode="json") == result
    assert made.command == ("mrb", "run", "--model", "random", "--suite", "mini")
    text = (pristine / "submission.json").read_text()
    assert socket.gethostname() not in text and "/home" not in text and str(trial) not in text
    checked = validate_submission(read_submission_folder(pristine))
    assert checked.recomputed == (TASK,) and not checked.not_recomputed


def test_orders_and_scores_are_those_of_the_run(trial: Path, pristine: Path) -> None:
    import numpy as np

    from mrb.candidates.load import load_candidates
    from mrb.data.task import load_task
    from mrb.results.export import format_trec
    from mrb.results.run import load_run

    listed = load_candidates(load_task(TASK), None, 25)
    lines = [line.split() for line in format_trec(load_run(trial), TASK)]
    table = pq.read_table(pristine / "rankings" / f"{TASK}.parquet")
    shown = []
    for query_id, order, scores in zip(*(table.column(name).to_pylist() for name in table.column_names), strict=True):
        doc_ids, _ = listed.get(query_id)
        shown += [(query_id, doc_ids[place]) for place in order]
        values = np.frombuffer(scores, "<f4")
        assert len(values) == len(order) and (np.diff(values) <= 0).all()
    assert shown == [(line[0], line[2]) for line in lines]


def test_the_same_run_gives_the_same_submission(trial: Path, pristine: Path, tmp_path: Path) -> None:
    again = submitted(trial, tmp_path)
    for path in pristine.rglob("*.*"):
        assert (again / path.relative_to(pristine)).read_bytes() == path.read_bytes()


def test_what_stays_at_home_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "class Mine:\n"
        "    def __init__(self, weights: str, api_key: str, size: int):\n        pass\n"
        "    def score(self, request):\n        return [float(len(d.text)) for d in request.candidates]\n"
    )
    made_run = trial_run(tmp_path, model="mine", limit=5, weights="/data/weights/v2", api_key="hunter2", size="3")
    declared = ModelDeclaration(ModelCard(organisation="mrb", name="mine"), read_training(None, MINI))
    with logged() as told:
        folder = build_submission(made_run, declared, tmp_path / "out", allow_incomplete=True)
    made = read_submission_folder(folder).submission
    assert made.reranker.options == {"weights": "(path)", "api_key": "(withheld)", "size": 3}
    assert made.command[6:] == ("--set", "weights=(path)", "--set", "api_key=(withheld)", "--set", "size=3")
    assert [line for line in told if line.startswith("option ")] == [
        "option weights: (path) replaces it",
        "option api_key: (withheld) replaces it",
    ]
    assert validate_submission(read_submission_folder(folder)).recomputed == (TASK,)


# What is refused when it is made


def test_an_incomplete_run_is_refused_with_the_reason(trial: Path, tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"1 of the 9 tasks of mini, 8 not run yet \(mini-emoji-i2i, .*"):
        submitted(trial, tmp_path, allow_incomplete=False)
    text_only = trial_run(tmp_path, model="bm25", tasks=(TASK, "mini-emoji-i2i"))
    with pytest.raises(ResultError, match=r"1 not covered \(mini-emoji-i2i: queries are image"):
        submitted(text_only, tmp_path, allow_incomplete=False)
    assert not (tmp_path / "mrb__random").exists()


def test_a_trial_is_refused_with_the_reason(tmp_path: Path) -> None:
    whole = trial_run(tmp_path, tasks=MINI.tasks, limit=3)
    with pytest.raises(ResultError, match=r"holds the first queries only \(--limit\).*--allow-incomplete"):
        submitted(whole, tmp_path, allow_incomplete=False)


def test_lists_of_several_candidate_sets_are_refused(tmp_path: Path) -> None:
    mixed = write_run_folder(tmp_path / "mixed", 0.5, tracks=("standard", "other"))
    with pytest.raises(ResultError, match="mixed: its lists belong to candidate sets other, standard; a submission is"):
        submitted(mixed, tmp_path)
    assert not (tmp_path / "mrb__random").exists()


def test_files_that_are_not_the_journals_are_refused(trial: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trial, tmp_path / trial.name))
    path = folder / TASK / "result.json"
    result = json.loads(path.read_text())
    result["measures"]["nDCG@10"]["high"] += 1e-6
    path.write_text(json.dumps(result))
    with pytest.raises(ResultError, match=r"measures\.nDCG@10\.high is .*mrb recompute .* --write"):
        submitted(folder, tmp_path)


def test_single_tasks_are_no_suite_and_a_folder_is_not_overwritten(trial: Path, tmp_path: Path) -> None:
    single = replace(select_tasks(None, [TASK], (), None), model="random", out=tmp_path / "single", limit=3)
    with pytest.raises(ResultError, match="named one by one do not form a suite"):
        submitted(run(single).folder, tmp_path)
    submitted(trial, tmp_path)
    with pytest.raises(ResultError, match=r"already exists; remove it, or give this one another --variant"):
        submitted(trial, tmp_path)


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ({"organisation": "a__b"}, "pattern"), ({"name": "x/y"}, "pattern"), ({"name": ".x"}, "pattern"),
        ({"name": "NUL"}, "Windows"), ({"name": "com1.bin"}, "Windows"), ({"name": "é"}, "pattern"),
        ({"links": ("http://x.org",)}, "pattern"), ({"links": ("javascript:alert(1)",)}, "pattern"),
        ({"links": ("https://user@x.org/",)}, "pattern"), ({"links": ("https://x.org/\u202e",)}, "pattern"),
        ({"links": ("https://localhost/",)}, "pattern"), ({"licence": "<b>"}, "pattern"),
        ({"organisation": "a" * 46, "name": "b" * 46, "variant": "c" * 10}, "longer than 96"),
    ],
)  # fmt: skip
def test_names_and_links_that_are_none(card: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ModelCard.model_validate({"organisation": "mrb", "name": "x", **card})


def test_training_is_declared_by_task(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "training.toml"
    path.write_text(f'default = "clean"\n[tasks]\n{TASK} = "trained-on"\n')
    assert read_training(path, MINI) == {
        task_id: "trained-on" if task_id == TASK else "clean" for task_id in MINI.tasks
    }
    assert set(read_training(None, MINI).values()) == {"unknown"}
    published: dict[str, Mark] = {TASK: "related", "mini-flag-t2i": "trained-on", "msmarco": "trained-on"}
    assert Counter(read_training(None, MINI, published).values()) == {"unknown": 7, "related": 1, "trained-on": 1}
    assert Counter(read_training(path, MINI, published).values()) == {"clean": 7, "trained-on": 2}
    assert caplog.messages == [f"{path}: published marks go before its default: mini-flag-t2i trained-on"]
    path.write_text('[tasks]\nmini-flag-t2i = "clean"\n')
    assert read_training(path, MINI, published)["mini-flag-t2i"] == "clean", "what the file names is kept"
    assert caplog.messages[1:] == [
        f"{path}: mini-flag-t2i is declared clean; published: trained on. The board shows both"
    ]
    path.write_text(f'[tasks]\n{TASK} = "clean"\n')
    assert Counter(read_training(path, MINI, published).values()) == {"unknown": 7, "clean": 1, "trained-on": 1}
    for text, words in (
        ('[tasks]\nnfcorpus = "clean"', "'nfcorpus' is not a task of suite mini"),
        ('default = "maybe"', "Input should be 'trained-on'"),
        ("tasks = 3", "Input should be a valid dict"),
        ('note = "x"', "'note' is not a task of suite mini"),
        ("x", "not valid TOML"),
    ):
        path.write_text(text)
        with pytest.raises(ResultError, match=words):
            read_training(path, MINI)


@pytest.mark.parametrize(
    ("text", "size"), [("3.75B", 3_750_000_000), ("560m", 560_000_000), ("12", 12), ("7T", 7 * 10**12)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "B", "3 B x", "nan", "infB", "1e999"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(MRBError, match="--size"):
        parse_size(text)


# What stays at home

PATH, HOST, KEY = "a path", "an address or host name", "something that looks like a key"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("/home/bob/x", PATH), ("weights=/data/x", PATH), ("~/x", PATH), ("../x", PATH),
        ("C:\\models", PATH), ("c:/models", PATH), ("\\\\server\\share", PATH), ("runs/a/b", PATH),
        ("file:x", PATH), ("http://10.0.0.1:80", HOST), ("localhost:8000", HOST),
        ("ssh://x", HOST), ("192.168.1.7", HOST),
        ("bob@example.org", HOST), ("sk-abcdefghijklmnop1234", KEY),
        ("hf_abcdefghijklmnopqrst", KEY),
        ("Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MEFCQ0RFRg", KEY),
        ("surface", None), ("Alibaba-NLP/gme-Qwen2-VL-2B", None), ("a" * 40, None), ("2.13.0", None),
        ("yes / no", None),
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", None), ("hf://datasets/org/name", None), ("Is it yes/no and/or both?", None),
    ],
)  # fmt: skip
def test_what_is_private(text: str, what: str | None) -> None:
    assert find_private_text(text) == what


def test_commands_options_and_environments_are_cleaned() -> None:
    words = "mrb run --model x --out /a --name=n --set api_key=abc --api-key abc --max_tokens 5 --candidates /l"
    assert " ".join(clean_command(words.split(), [])) == (
        "mrb run --model x --set api_key=(withheld) --api-key (withheld) --max_tokens 5 --candidates (path)"
    )
    assert clean_options({"url": "on-box-7", "yes_token": "yes", "hf_token": "t"}, ["box-7"]) == {
        "url": "(address)",
        "yes_token": "yes",
        "hf_token": "(withheld)",
    }
    environment = {
        "python": "3.11.2",
        "hostname": "box",
        "username": "bob",
        "system": "Linux 6.1.0-18-bobs",
        "cores": "2",
    }
    assert clean_environment(environment, []) == {"python": "3.11.2", "system": "Linux 6.1", "cores": "2"}

"""What is written for the Hub is read back by the Hub's own client, with every number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from mrb.errors import MRBError
from mrb.results.hub_metadata import format_eval_results, format_model_index, name_metric
from mrb.results.run import average_over_tasks, load_run

MakeRun = Callable[..., Path]


def test_the_hubs_client_reads_every_number_of_a_card(make_run: MakeRun) -> None:
    run = load_run(make_run("toy", cover=("mini-faq-t2t", "mini-flag-i2t")))
    card = ModelCard(format_model_index(run) + "\n# A model\n")
    assert card.data.model_name == "toy"
    found = {(one.dataset_config, one.metric_name): one for one in card.data.eval_results or ()}
    assert len(found) == 2 * 8
    for (task_id, measure), one in found.items():
        result = run.tasks[str(task_id)].result
        own = result.measures[str(measure)]
        assert (one.metric_value, one.metric_type) == (own.mean, name_metric(str(measure)))
        assert (one.metric_args or {})["low"] == own.low
        assert (one.metric_args or {})["candidates"] == result.candidates.sha256
        assert one.dataset_revision == run.tasks[str(task_id)].task.source.parts[0].content


def test_averages_are_on_the_card_of_a_whole_suite_only(make_run: MakeRun) -> None:
    run = load_run(make_run("toy"))
    metrics = ModelCard(format_model_index(run)).data.eval_results
    found = {(one.dataset_config, one.metric_name): one for one in metrics if one.dataset_type != "mrb-mini-text-query"}
    mean = average_over_tasks(run, run.record.tasks, "MRR@10").mean
    assert found["average-over-tasks", "MRR@10"].metric_value == mean


def test_the_hubs_client_reads_eval_results(make_run: MakeRun) -> None:
    run = load_run(make_run("toy"))
    text = format_eval_results(run, f"org/bench@{'a' * 40}", "nDCG@10")
    entries = parse_eval_result_entries(yaml.safe_load(text))
    assert [entry.task_id for entry in entries] == list(run.tasks)
    for entry in entries:
        own = run.tasks[entry.task_id].result.measures["nDCG@10"]
        assert entry.value == pytest.approx(100 * own.mean, abs=1e-5)
        assert (entry.dataset_id, entry.dataset_revision, entry.date) == ("org/bench", "a" * 40, "2026-11-27")
        assert f"[{100 * own.low:.2f}, {100 * own.high:.2f}]" in str(entry.notes)
    for wrong in ("bench", "org/", "a/b/c"):
        with pytest.raises(MRBError, match="wanted ORG/NAME"):
            format_eval_results(run, wrong, "nDCG@10")

"""Results in the forms that the Hugging Face Hub reads: a card's `model-index`, and files of `.eval_results`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mrb.errors import MRBError, to_one_line
from mrb.results.run import Run
from mrb.results.table import find_averages, list_averages

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, EvalResultEntry

TASK_TYPE = "text-ranking"
"""The Hub's task of rerankers; it has none for images."""
NEWER_HUB = "eval-results needs a newer huggingface_hub: pip install -U huggingface_hub"


def format_model_index(run: Run) -> str:
    """Return the metadata block of a model card (YAML between `---`) with a `model-index` of all of the run's numbers.

    A task is a data set (its first repository and pinned revision), each measure a metric, as a fraction. `args` of a
    metric hold its 95 % interval, the depth and the hash of the candidate list, without which the number means little.
    Averages over the suite are there if they exist. The form is the Hub's own: it is written by huggingface_hub.
    """
    from huggingface_hub import ModelCardData

    name = to_one_line(run.record.reranker.name)
    data = ModelCardData(model_name=name, eval_results=list(_list_metrics(run)))
    return f"---\n{data.to_yaml()}\n---\n"


def split_benchmark(benchmark: str) -> tuple[str, str]:
    """Return data set and revision (or "") of ORG/NAME or ORG/NAME@REVISION. Raises MRBError for another form."""
    dataset, _, revision = benchmark.partition("@")
    if len(dataset.split("/")) != 2 or not all(dataset.split("/")):
        raise MRBError(f"--benchmark {to_one_line(benchmark, 100)}: wanted ORG/NAME or ORG/NAME@REVISION")
    return dataset, revision


def format_eval_results(run: Run, benchmark: str, measure: str) -> str:
    """Return a file for the folder `.eval_results` of a model's repository.

    Args:
        run: The run.
        benchmark: The data set of the benchmark, as ORG/NAME or ORG/NAME@REVISION: its `eval.yaml` must name the tasks
            by the ids that MRB has.
        measure: The measure, which is written in points (fractions times 100).

    Raises:
        MRBError: `benchmark` has another form, the run lacks the measure, or huggingface_hub is too old.
    """
    try:
        from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
    except ImportError as error:
        raise MRBError(NEWER_HUB) from error
    from huggingface_hub.utils import yaml_dump  # type: ignore[attr-defined]

    dataset, revision = split_benchmark(benchmark)
    entries: list[EvalResultEntry] = []
    for task_id, scores in run.tasks.items():
        result = scores.result
        if measure not in result.measures:
            raise MRBError(f"{run.where}: {task_id} has no {measure}; it has {', '.join(result.measures)}")
        own = result.measures[measure]
        timing = run.record.timings.get(task_id)
        notes = (
            f"MRB {run.record.mrb_version}, {measure}, 95 % interval [{100 * own.low:.2f}, {100 * own.high:.2f}], "
            f"first stage {100 * result.first_stage[measure].mean:.2f}, depth {result.candidates.depth}, candidates "
            f"{result.candidates.sha256[:12]}, queries: {result.data.selection}"
        )
        entries.append(
            EvalResultEntry(
                dataset_id=dataset,
                task_id=task_id,
                value=round(100 * own.mean, 5),
                dataset_revision=revision or None,
                date=None if timing is None else timing.day,
                notes=to_one_line(notes),
            )
        )
    return str(yaml_dump(eval_result_entries_to_yaml(entries), sort_keys=False))


def _list_metrics(run: Run) -> Iterator[EvalResult]:
    from huggingface_hub import EvalResult

    for task_id, scores in run.tasks.items():
        result, task = scores.result, scores.task
        part = task.source.parts[0]
        for measure, own in result.measures.items():
            yield EvalResult(
                task_type=TASK_TYPE,
                task_name=f"Reranking ({task.type})",
                dataset_type=part.repository,
                dataset_name=f"{to_one_line(task.title)} (MRB {task_id})",
                dataset_config=task_id,
                dataset_split=part.qrels.split,
                dataset_revision=part.revision or part.content,
                metric_type=name_metric(measure),
                metric_name=measure,
                metric_value=own.mean,
                metric_args={
                    "low": own.low,
                    "high": own.high,
                    "first_stage": result.first_stage[measure].mean,
                    "depth": result.candidates.depth,
                    "candidates": result.candidates.sha256,
                    "queries": result.data.selection,
                },
            )
    measures = next(iter(run.tasks.values())).result.measures if run.tasks else ()
    for _, averaged, over in list_averages(run) if run.record.suite is not None else ():
        suite = averaged.record.suite
        for measure in measures:
            first, average, _ = find_averages(averaged, over, measure)
            interval = average.interval
            if interval is None or first.mean is None:
                continue
            yield EvalResult(
                task_type=TASK_TYPE,
                task_name="Reranking",
                dataset_type=f"mrb-{suite}",
                dataset_name=f"MRB suite {suite} {run.record.suite_version}, average over {average.of} {over}",
                dataset_config=f"average-over-{over}",
                metric_type=name_metric(measure),
                metric_name=measure,
                metric_value=interval.mean,
                metric_args={"low": interval.low, "high": interval.high, "first_stage": first.mean},
            )


def name_metric(measure: str) -> str:
    """Return a measure as the Hub spells metrics: `ndcg_at_10` for `nDCG@10`."""
    return measure.lower().replace("@", "_at_")

"""Run by a test as a script: make a list of each of the 40 tasks from the predictions that mteb wrote."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from mrb.candidates.score_files import import_candidates
from mrb.candidates.task_scores import read_task_scores
from mrb.data.load import load_task_data
from mrb.data.task import load_suite, load_task


def main() -> None:
    """Print each task with its numbers of queries, pairs, and queries without a list."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in json.loads(Path(__file__).with_name("mteb_predictions.json").read_text()).items():
            (folder / file).write_text(json.dumps(content))
        for task_id in load_suite("mrb").tasks:
            task = load_task(task_id)
            found = import_candidates(
                load_task_data(task),
                read_task_scores(folder, task),
                first_stage="made-up",
                depth=8,
                candidate_set="imported",
                skip_unknown=True,
            )
            print(task_id, len(found.candidates), found.candidates.pairs, found.missing)


if __name__ == "__main__":
    main()

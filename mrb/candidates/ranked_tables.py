"""Make a candidate list of published tables in mteb's form: `query-id`, and `corpus-ids` in the first stage's order.

A data set for reranking in mteb has them in the config `top_ranked`, or in one config for each of its subsets, such as
`english-top_ranked`. They have no scores: the document at rank n gets the score -n.
"""

from __future__ import annotations

from mrb.candidates.candidate_sets import PublishedList, get_candidate_set
from mrb.candidates.lists import Candidates
from mrb.candidates.score_files import Scores, import_candidates, read_scores
from mrb.data.corpus_subset import NeededDocuments
from mrb.data.load import load_task_data
from mrb.data.task import Task
from mrb.errors import CandidatesError
from mrb.hub.client import fetch_files, open_manifest


def read_ranked_tables(published: PublishedList) -> Scores:
    """Read the tables of a published list: query id -> document id -> minus the rank.

    Raises:
        CandidatesError: A config is missing, or a query is in two of the tables.
        ResultError: A table cannot be read.
        DataError: The repository cannot be read.
    """
    manifest = open_manifest(published.repository, published.commit)
    found: dict[str, dict[str, float]] = {}
    for config in published.top_ranked:
        paths = manifest.tables.get(config, {}).get(published.split)
        if not paths:
            there = ", ".join(f"{name}/{split}" for name, splits in manifest.tables.items() for split in splits)
            raise CandidatesError(
                f"{published.place}: wanted the table {config}/{published.split}; tables found: {there or 'none'}"
            )
        manifest, files = fetch_files(manifest, paths)
        for path in files:
            for query_id, scores in read_scores(path, "top_ranked").items():
                if query_id in found:
                    raise CandidatesError(f"{published.place}: query {query_id!r} is ranked twice, again in {config}")
                found[query_id] = dict(scores)
    return found


def make_ranked_list(published: PublishedList, task: Task) -> Candidates:
    """Make the task's list of its published tables. The task's data is loaded, which checks every id.

    Raises:
        CandidatesError: A judged query has no list, or a document is not in the corpus.
        ResultError: A table cannot be read.
        DataError: A repository cannot be read.
    """
    chosen = get_candidate_set(published.candidate_set)
    scores = read_ranked_tables(published)
    data = load_task_data(task, needed=NeededDocuments.of(doc_id for found in scores.values() for doc_id in found))
    return import_candidates(
        data,
        scores,
        first_stage=chosen.list_accepted_names(task)[0],
        depth=chosen.depth,
        candidate_set=chosen.id,
        skip_unknown=True,
    ).candidates

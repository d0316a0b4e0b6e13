"""The card of a folder of candidate lists (README.md), and the lists' entries for `tasks/published_lists.toml`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mrb._util.files import write_bytes
from mrb._util.format import format_tasks
from mrb.candidates.candidate_sets import PublishedList, find_candidate_set
from mrb.candidates.judgement_packs import read_pack
from mrb.candidates.push_lists import LocalList, check_write_access
from mrb.hub.address import HubFolder
from mrb.hub.client import README
from mrb.hub.retries import call_with_retries

MADE = "<!-- Made by mrb candidates push. Remove this line to keep your own changes. -->"
ENTRIES = "published_lists.toml"


def has_own_card(target: HubFolder, card: Path) -> bool:
    """Return whether the folder on the Hub has a card of its owner's, which `card`, made here, would replace.

    Raises DataError as `mrb.candidates.push_lists.check_write_access` does.
    """
    if MADE not in _read_card(card):
        return False
    check_write_access(target)
    from huggingface_hub import HfApi

    api, name, where = HfApi(), target.path(README), str(target)
    if not call_with_retries(lambda: api.file_exists(target.repository, name, repo_type="dataset"), where):
        return False
    there = call_with_retries(lambda: api.hf_hub_download(target.repository, name, repo_type="dataset"), where)
    return MADE not in _read_card(Path(there))


def write_card(folder: Path, lists: Sequence[LocalList], target: HubFolder) -> Path:
    """Write the card of the lists in `folder` and return it. A card without the line `MADE` is the user's and stays."""
    path = folder / README
    if not path.exists() or MADE in _read_card(path):
        write_bytes(path, format_card(lists, target).encode())
    return path


def format_card(lists: Sequence[LocalList], target: HubFolder) -> str:
    """Return the card: Markdown after the YAML that the Hub reads."""
    sets = ", ".join(sorted({one.about.provenance.track for one in lists}))
    first = lists[0].about.provenance.task
    rows = ["| task | first stage | depth | queries | pairs | SHA-256 of the list | judgement pack |", "|---" * 7 + "|"]
    for one in lists:
        made = one.about.provenance
        pack = "no" if one.pack is None else "yes"
        numbers = f"{made.depth} | {one.about.queries:,} | {one.about.pairs:,}"
        rows.append(f"| {made.task} | {made.first_stage} | {numbers} | `{one.about.sha256}` | {pack} |")
    return "\n".join(
        [
            "---",
            f"pretty_name: {json.dumps(f'MRB candidate lists: {sets}')}",
            "tags: [mrb, reranking, candidate-lists]",
            'configs: [{config_name: lists, data_files: "*.parquet"}]',
            "---",
            MADE,
            "",
            f"# Candidate lists: {sets}",
            "",
            f"What first stages found for the queries of {format_tasks(len(lists))} of MRB, a benchmark of rerankers.",
            "The lists hold ids and scores, no text and no image. `<task>.judgements` holds the grades of a list's",
            "documents by position; the rights in them are those of the data sets.",
            "",
            "```",
            f"mrb candidates pull {target}",
            f"mrb run --model my_adapter --task {first} --candidates {target}",
            "```",
            "",
            *rows,
            "",
        ]
    )


def _read_card(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def write_entries(folder: Path, lists: Sequence[LocalList], pushed: HubFolder) -> Path | None:
    """Write the entries of pushed lists for `tasks/published_lists.toml` into `folder`; None if no set is MRB's."""
    entries = []
    for one in lists:
        made = one.about.provenance
        if find_candidate_set(made.track) is not None:
            entry = PublishedList(
                candidate_set=made.track,
                task=made.task,
                repository=pushed.repository,
                commit=pushed.revision or "",
                folder=pushed.folder,
                sha256=one.about.sha256,
                pack_sha256=None if one.pack is None else read_pack(one.pack).sha256,
            )
            values = entry.model_dump(mode="json", exclude_defaults=True)
            entries.append("\n".join(["[[lists]]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]))
    if not entries:
        return None
    path = folder / ENTRIES
    write_bytes(path, ("\n\n".join(entries) + "\n").encode())
    return path

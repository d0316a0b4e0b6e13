"""Find the commit of a branch or tag of a Hub data set, and remember it for use offline.

It is stored in `<cache>/candidates/<ORG>--<NAME>/revisions/<branch>.json`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import Field, ValidationError

from mrb._util.files import read_json, write_json
from mrb._util.model import Model
from mrb.errors import CandidatesError, format_first_problem
from mrb.hub.address import HubFolder
from mrb.hub.client import is_offline
from mrb.hub.manifest import find_cache_root
from mrb.hub.retries import call_with_retries


class _Resolved(Model):
    """The commit that a revision named at the last request."""

    schema_version: Literal[1] = 1
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]


def resolve_revision(source: HubFolder) -> HubFolder:
    """Return the folder at the commit of its revision, which the Hub is asked for; a full commit needs no request.

    Offline, the commit of the last request is used. Raises CandidatesError if there was none.
    """
    if source.pinned:
        return source
    from huggingface_hub import HfApi

    revision = source.revision or "main"
    record = find_cache_root() / "candidates" / name_folder(source) / "revisions" / f"{quote(revision, safe='')}.json"
    if is_offline():
        return source.at(_read_resolved(record, source))
    api = HfApi()
    found = call_with_retries(
        lambda: api.repo_info(source.repository, revision=source.revision, repo_type="dataset"), str(source)
    )
    try:
        resolved = _Resolved(commit=found.sha or "")
    except ValidationError as error:
        raise CandidatesError(f"{source}: the Hub states no commit: {format_first_problem(error)}") from error
    write_json(record, resolved.model_dump(mode="json"))
    return source.at(resolved.commit)


def name_folder(source: HubFolder) -> str:
    """Return the name of the data set's folder in the cache."""
    return source.repository.replace("/", "--")


def _read_resolved(record: Path, source: HubFolder) -> str:
    if not record.is_file():
        raise CandidatesError(
            f"{source}: offline, and which commit it is was never asked here; pull it where there is network, or name "
            "a commit by its 40 digits"
        )
    try:
        return _Resolved.model_validate(read_json(record)).commit
    except ValidationError as error:
        raise CandidatesError(f"{record}: {format_first_problem(error)}; delete it and pull again") from error

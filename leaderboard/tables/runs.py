"""Read the runs and submissions that a board is built from, and describe each for its page."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mrb._util.files import is_device_name
from mrb._util.progress import track
from mrb._util.redact import redact, redact_text
from mrb.errors import MRBError, ResultError
from mrb.leaderboard.tables.per_query_cache import add_values
from mrb.results.noise import NOISE_FILE, NoiseRecord, describe_other_reranker, read_noise
from mrb.results.run import Run, load_run
from mrb.results.schema import RUN_FILE
from mrb.submission.as_run import to_run
from mrb.submission.reader import is_submission, list_submissions, read_submission_folder
from mrb.submission.schema import SUBMISSION_FILE, ModelCard, Submission
from mrb.submission.validate import check_means
from mrb.submission.verify import VerificationRecord

_PAPER = re.compile(r"https://(arxiv\.org|aclanthology\.org|openreview\.net|(dx\.)?doi\.org|dl\.acm\.org)/")
# The names that `mrb run` gives. A run's name becomes a folder of the site and part of addresses.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}", re.ASCII)


class Badge(NamedTuple):
    """An icon: its CSS class, the words that it stands for, and the address that it links to, if any."""

    name: str
    words: str
    href: str = ""


@dataclass(frozen=True)
class RunCard:
    """Description of a run: what scored, where, how fast.

    `title` is the model's name as its rows show it, `organisation` who made it (empty for a run), `badges` what its
    rows say by icons: name, words, and the address of the paper. `of_runs` are runs that stand in its row.

    `pairs_per_second` is None if no timing was recorded. `noise_floor` (a fraction), `noise_path` (in the site) and
    `noise_folder` (where the file is) are None if no noise was measured on this reranker; `noise_note` then says so.
    """

    name: str
    reranker: str
    version: str
    kind: str
    inputs: str
    uses_first_stage: bool
    options: str
    source: str
    command: str
    pairs_per_second: float | None
    hardware: str
    software: str
    failed_pairs: int
    not_covered: tuple[tuple[str, str], ...]
    record_path: str
    noise_floor: float | None
    noise_note: str
    noise_path: str | None
    noise_folder: Path | None
    title: str
    organisation: str
    badges: tuple[Badge, ...]
    of_runs: tuple[str, ...]

    @property
    def label(self) -> str:
        """The model's name with its organisation, on one line; no other row of the board has the same."""
        return f"{self.title} ({self.organisation})" if self.organisation else self.title


@dataclass(frozen=True)
class Entry:
    """Source of a row: a run, and the submission that it came in, if any."""

    run: Run
    submission: Submission | None = None


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Return the runs of `read_entries`."""
    return [entry.run for entry in read_entries(folders)]


def read_entries(folders: Sequence[Path], packs: Path | None = None) -> list[Entry]:
    """Return the runs and submissions in `folders`, each once, in the given order; a folder may hold many submissions.

    `packs` is a folder of judgement packs, which give submissions their values per query.

    ResultError names the folder and what is wrong: neither a run nor a submission, damaged, without results, an invalid
    name, or a name that another run has too.
    """
    entries: list[Entry] = []
    names: dict[str, Path] = {}
    paths = dict.fromkeys(path for given in folders for path in _expand_folder(given.resolve()))
    for folder in track(paths, "reading", "folders"):
        entry = _read_submission(folder, packs) if is_submission(folder) else Entry(_read_run(folder))
        # Compared without case: the site must also unpack on case-insensitive file systems.
        other = names.setdefault(entry.run.name.casefold(), folder)
        if other != folder:
            raise ResultError(f"{folder}: a run of the same name is in {other}; rename one of the two folders")
        entries.append(entry)
    if not any(entry.run.tasks for entry in entries):
        raise ResultError("no results in any of the runs: there is nothing to show")
    return entries


def drop_submitted(entries: Sequence[Entry]) -> tuple[list[Entry], dict[str, str]]:
    """Return the entries without runs whose submission is among them, and the submission's name by run.

    A run is a submission's if that has every one of its results, which name the reranker too.
    """
    submitted = sorted((one for one in entries if one.submission is not None), key=lambda one: one.run.name)
    kept: list[Entry] = []
    dropped: dict[str, str] = {}
    for entry in entries:
        owner = None if entry.submission is not None else _find_owner(entry.run, submitted)
        if owner is None:
            kept.append(entry)
        else:
            dropped[entry.run.name] = owner
    return kept, dropped


def _find_owner(run: Run, submitted: Sequence[Entry]) -> str | None:
    if not run.tasks:
        return None
    for entry in submitted:
        theirs = entry.run.tasks
        if all(task_id in theirs and theirs[task_id].result == own.result for task_id, own in run.tasks.items()):
            return entry.run.name
    return None


def make_card(
    run: Run,
    submission: Submission | None = None,
    verified: VerificationRecord | None = None,
    of_runs: Sequence[Run] = (),
) -> RunCard:
    """Return the description of `run`, of the submission that it came in, and of the record of a re-run.

    `of_runs` are runs that stand in this row; noise that was measured on one of them is this row's too.
    """
    info, environment = run.record.reranker, run.record.environment
    options: dict[str, object] = redact(info.options)
    timings = [timing for task_id, timing in run.record.timings.items() if task_id in run.tasks]
    seconds = sum(timing.seconds for timing in timings)
    hardware = [environment.get(name, "") for name in ("gpu", "processor")]
    cores = environment.get("cores")
    noise, note, noise_folder = _find_noise(run, of_runs)
    model = submission.model if submission else None
    return RunCard(
        name=run.name,
        reranker=info.name,
        version=info.version,
        kind=info.kind,
        inputs=info.inputs.format(),
        uses_first_stage=info.uses_first_stage,
        options=", ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in options.items()),
        source=redact_text(info.source),
        command=shlex.join(redact(run.record.command)),
        pairs_per_second=sum(timing.pairs for timing in timings) / seconds if seconds > 0 else None,
        hardware=", ".join(
            [*filter(None, hardware), *([f"{cores} core{'s' if str(cores) != '1' else ''}"] if cores else [])]
        )
        or "not recorded",
        software=", ".join(f"{name} {environment[name]}" for name in ("mrb", "python", "torch") if name in environment),
        failed_pairs=sum(scores.result.counts.failed_pairs for scores in run.tasks.values()),
        not_covered=_group_not_covered(run),
        record_path=f"data/{run.name}/{SUBMISSION_FILE if run.stored else RUN_FILE}",
        noise_floor=noise.floor if noise else None,
        noise_note=note,
        noise_path=f"data/{run.name}/{NOISE_FILE}" if noise else None,
        noise_folder=noise_folder,
        title=" ".join(filter(None, (model.name, model.variant))) if model else run.name,
        organisation=model.organisation if model else "",
        badges=tuple(_list_badges(model, verified)) if model else (),
        of_runs=tuple(one.name for one in of_runs),
    )


def _list_badges(model: ModelCard, verified: VerificationRecord | None) -> Iterator[Badge]:
    if model.open_weights:
        yield Badge("open", "open weights")
    if model.licence:
        yield Badge("licence", f"licence {model.licence}")
    paper = next((link for link in model.links if _PAPER.match(link)), "")
    if paper:
        yield Badge("paper", "paper", paper)
    if verified is not None:
        yield Badge("verified", "verified by re-run")


def _find_noise(run: Run, of_runs: Sequence[Run]) -> tuple[NoiseRecord | None, str, Path | None]:
    """Return the noise measured on the run's own reranker, on what, and the folder; or None, the reason, and None."""
    reason = "not measured"
    for one in (run, *of_runs):
        noise = read_noise(one.folder)
        if noise is not None:
            reason = describe_other_reranker(noise, run.record.reranker)
            if not reason:
                return noise, noise.extent, one.folder
    return None, reason, None


def _group_not_covered(run: Run) -> tuple[tuple[str, str], ...]:
    """Return each reason once, with the tasks that it excludes."""
    tasks: dict[str, list[str]] = {}
    for item in run.record.not_covered:
        tasks.setdefault(item.reason, []).append(item.task)
    return tuple((", ".join(task_ids), reason) for reason, task_ids in tasks.items())


def get_model_path(run_name: str) -> str:
    """Return the path of a run's page. `read_runs` has checked that the name is a file name and unique."""
    return f"models/{run_name}.html"


def result_path(run: Run, task_id: str) -> str:
    """Return the site's path of the file that a number comes from."""
    return f"data/{run.name}/{SUBMISSION_FILE}" if run.stored else f"data/{run.name}/{task_id}.json"


def _expand_folder(folder: Path) -> list[Path]:
    """Return a run, a submission, or the submissions in a folder of them."""
    if is_submission(folder) or not folder.is_dir() or (folder / RUN_FILE).exists():
        return [folder]
    return list_submissions(folder) or [folder]


def _read_submission(folder: Path, packs: Path | None) -> Entry:
    received = read_submission_folder(folder, neighbours=False)
    check_means(received)
    return Entry(add_values(to_run(received), received, packs), received.submission)


def _read_run(folder: Path) -> Run:
    if not (folder / RUN_FILE).is_file():
        raise ResultError(
            f"{folder}: no {RUN_FILE} here: this is not a run, or one that `mrb run` has not finished yet"
        )
    if not _NAME.fullmatch(folder.name):
        raise ResultError(
            f"{folder}: a run's folder is named with letters, digits, '.', '_', '-', starting with a letter or digit"
        )
    if is_device_name(folder.name) or folder.name.endswith("."):
        raise ResultError(f"{folder}: Windows cannot have a file of this name, and the site would; rename the folder")
    run = load_run(folder)
    for task_id in run.record.tasks:
        try:
            run.record.get_task(task_id)
        except MRBError as error:
            raise ResultError(f"{folder}: {error}") from error
    return run

"""Files that mean harm in a submission: links, pipes, archives, names that are paths; each is refused by name."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import pytest

from mrb._util.hashing import hash_file
from mrb.errors import ResultError
from mrb.leaderboard.build import build
from mrb.submission.reader import list_submissions, read_submission_folder
from mrb.submission.validate import validate_submission
from tests.submission.test_hostile import TASK, Damage, Json, edit, peak_megabytes, refusal

# Names and kinds of files


def _unlink_and_link(name: str, target: str) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        path.symlink_to(target)

    return damage


def _pipe(folder: Path) -> None:
    (folder / "submission.json").unlink()
    os.mkfifo(folder / "submission.json")


def _file_for_a_folder(folder: Path) -> None:
    shutil.rmtree(folder / "rankings")
    (folder / "rankings").write_text("")


def _folder_for_a_file(folder: Path) -> None:
    path = folder / "rankings" / f"{TASK}.parquet"
    path.unlink()
    path.mkdir()


def _zip(folder: Path) -> None:
    with zipfile.ZipFile(folder / "rankings" / "more.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(10_000_000))


def _zip_for_parquet(folder: Path) -> None:
    path = folder / "rankings" / f"{TASK}.parquet"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(10_000_000))
    edit(folder, lambda v: v["rankings"][TASK].update(sha256=hash_file(path)))


def _sparse(name: str) -> Damage:
    def damage(folder: Path) -> None:
        with (folder / name).open("r+b" if (folder / name).exists() else "wb") as file:
            file.truncate(100 * 1024 * 1024)

    return damage


def _hard_link(folder: Path) -> None:
    os.link(folder / "submission.json", folder / "rankings" / "more.parquet")


def _added(name: str) -> Damage:
    return lambda folder: (folder / name).write_bytes(b"")


def _renamed(name: str) -> Damage:
    return lambda folder: (folder / "rankings" / f"{TASK}.parquet").rename(folder / "rankings" / name)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_unlink_and_link("submission.json", "/etc/passwd"), "submission.json: a symbolic link"),
        (_unlink_and_link("submission.json", "nowhere"), "submission.json: a symbolic link"),
        (_unlink_and_link("rankings", "/etc"), "rankings: a symbolic link"),
        (_unlink_and_link(f"rankings/{TASK}.parquet", "/etc/passwd"), f"{TASK}.parquet: a symbolic link"),
        (_pipe, "submission.json: not a file"), (_file_for_a_folder, "rankings: not a folder"),
        (_folder_for_a_file, f"{TASK}.parquet: not a file"), (_zip, "'more.zip', which is not part of a submission"),
        (_zip_for_parquet, f"{TASK}.parquet: damaged parquet"), (_sparse("submission.json"), "104857600 bytes"),
        (_sparse(f"rankings/{TASK}.parquet"), "104857600 bytes, more than"), (_sparse("weights.bin"), "'weights.bin'"),
        (_added("NUL"), "'NUL', which is not part"), (_added("rankings/aux.parquet"), "'aux.parquet', which is not"),
        (_added("rankings/.hidden"), "'.hidden', which is not part"), (_added("run.py"), "'run.py', which is not"),
        (_added(f"rankings/{TASK.upper()}.parquet"), "'MINI-FAQ-T2T.parquet', which is not part"),
        (_added("rankings/a\u202eb"), "not part of"), (_added("rankings/a\x1b[2Jb\n"), "not part of"),
        (_added("verified.json"), "'verified.json', which is not part"), (_renamed("x.parquet"), "'x.parquet'"),
        (_added("rankings/mini-faq-t2t.parquet."), "t2t.parquet.', which is not part"),
        (_added("rankings/mini-faq-t2t.parquet "), "t2t.parquet ', which is not part"),
        (_added("rankings/..%2f..%2fx.parquet"), "x.parquet', which is not part"), (_hard_link, "'more.parquet'"),
    ],
)  # fmt: skip
def test_files_that_are_no_part_of_a_submission_are_refused_by_name(
    submission: Path, damage: Damage, words: str
) -> None:
    damage(submission)
    before = peak_megabytes()
    assert words in refusal(submission)
    assert peak_megabytes() - before < 50, "a large file is refused by its size, not after it was read"


def test_a_folder_that_is_a_link_is_refused(submission: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / submission.name
    link.symlink_to(submission)
    assert "a symbolic link" in refusal(link)


@pytest.mark.parametrize("task_id", ["../../etc/passwd", f"{TASK}/../x", "/etc/passwd", "..", "con", "a\\b", "a\x00b"])
def test_task_names_are_no_paths(submission: Path, task_id: str) -> None:
    def change(value: Json) -> None:
        for part in ("results", "rankings"):
            value[part][task_id] = value[part].pop(TASK)
        value["timings"].clear()

    refusal(edit(submission, change))


@pytest.mark.parametrize("name", ["CON", "com1", "nul.model", "AUX"])
def test_windows_names_are_refused(submission: Path, name: str) -> None:
    edit(submission, lambda v: v["model"].update(organisation=name))
    assert "Windows" in refusal(submission)
    folder = submission.rename(submission.parent / name)
    assert "reserved device name" in refusal(folder)


def test_names_that_differ_in_capitals_alone_are_refused(submission: Path) -> None:
    other = Path(shutil.copytree(submission, submission.parent / "MRB__Random"))
    assert "'MRB__Random' differs only in capitals" in refusal(submission)
    with pytest.raises(ResultError, match="differs only in capitals"):
        list_submissions(submission.parent)
    with pytest.raises(ResultError, match="differs only in capitals"):
        build([submission.parent], submission.parent / "site")
    shutil.rmtree(other)
    assert validate_submission(read_submission_folder(submission)).recomputed == (TASK,)

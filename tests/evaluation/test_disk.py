"""A full disk and a read-only folder: one clear line, nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.builders.command import MRB

pytestmark = pytest.mark.slow

RUN = f"{MRB} run --model random --task mini-faq-t2t --out"
FINAL = ("result.json", "scores.parquet", "per_query.parquet")


def _shell(script: str, *prefix: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*prefix, "sh", "-c", script], capture_output=True, text=True, check=False)


def test_a_full_disk_ends_in_one_line_and_the_same_command_goes_on(tmp_path: Path) -> None:
    disk, kept, whole = tmp_path / "disk", tmp_path / "kept", tmp_path / "whole"
    for folder in (disk, kept, whole):
        folder.mkdir()
    assert _shell(f"{RUN} {whole}").returncode == 0
    pairs = json.loads((whole / "random" / "mini-faq-t2t" / "result.json").read_text())["counts"]["pairs"]
    # A mount of its own, in a namespace that ends with the script: too small, then made larger.
    script = f"""
        mount -t tmpfs -o size=24k tmpfs {disk}
        {RUN} {disk}; echo "first exit $?"
        wc -c {disk}/random/mini-faq-t2t/journal
        mount -o remount,size=10m {disk}
        {RUN} {disk} >&2; echo "second exit $?"
        cp -r {disk}/random/mini-faq-t2t/. {kept}
    """
    done = _shell(script, "unshare", "--mount", "--user", "--map-root-user")
    assert "first exit 2" in done.stdout, done.stderr
    assert "second exit 0" in done.stdout, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("mrb: ")]
    assert len(errors) == 1
    assert "journal: cannot be written" in errors[0]
    assert "Traceback" not in done.stderr
    assert int(done.stdout.splitlines()[1].split()[0]) > 8000, "the first run must have kept its records"
    assert " pairs in " in done.stderr
    assert f"{pairs} pairs in" not in done.stderr, "the second run must not have scored all of them again"
    for name in FINAL:
        assert (kept / name).read_bytes() == (whole / "random" / "mini-faq-t2t" / name).read_bytes()


def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    # Root writes where it likes unless its capabilities are taken away.
    unprivileged = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
    done = _shell(f"{RUN} {folder}", *unprivileged)
    assert done.returncode == 2, done.stdout
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("mrb: ")]
    assert str(folder) in line
    assert "cannot be written" in line
    assert not list(folder.iterdir())

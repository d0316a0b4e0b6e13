"""What .github/submission.py takes out of a pull request, and what it refuses: real repositories, real objects."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".github" / "submission.py"
WORKFLOW = ROOT / ".github" / "workflows" / "validate-submission.yml"
NEW = "leaderboard/results/lab__model"
Commit = Callable[[], str]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("submission_of_pull_request", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def git(repository: Path, *arguments: str) -> str:
    who = {f"GIT_{role}_{key}": "x@example.org" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", "-C", str(repository), "-c", "core.symlinks=true", *arguments],
        env={**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def put(repository: Path, path: str, text: str = "{}") -> None:
    target = repository / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A base branch with one submission, and a branch `pr` to work on."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    put(folder, "leaderboard/results/lab__old/submission.json")
    put(folder, "leaderboard/results/README.md")
    put(folder, "mrb/code.py")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "base")
    git(folder, "checkout", "-q", "-b", "pr")
    return folder


def run(repository: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """The script as the workflow calls it, after everything there is was committed; `main` is checked out."""
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "--allow-empty", "-m", "submission")
    head = git(repository, "rev-parse", "pr")
    git(repository, "checkout", "-q", "-f", "main")
    put(repository, "mrb/later.py")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "the base branch moves on")
    command = [sys.executable, "-I", str(SCRIPT), git(repository, "rev-parse", "main"), head, "--out", str(out)]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)


def test_the_files_of_one_new_folder_are_copied_as_they_are(repository: Path, tmp_path: Path) -> None:
    put(repository, f"{NEW}/submission.json", '{"a": 1}')
    (repository / NEW / "rankings").mkdir()
    (repository / NEW / "rankings" / "mini-faq-t2t.parquet").write_bytes(bytes(range(256)))
    done = run(repository, tmp_path / "out")
    assert (done.returncode, done.stdout) == (0, "2 files of lab__model\n"), done.stderr
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == {"lab__model/submission.json", "lab__model/rankings/mini-faq-t2t.parquet"}
    assert (tmp_path / "out/lab__model/rankings/mini-faq-t2t.parquet").read_bytes() == bytes(range(256))


def _link(repository: Path) -> None:
    put(repository, f"{NEW}/submission.json")
    (repository / NEW / "rankings").symlink_to("/etc")


def _link_for_a_file(repository: Path) -> None:
    (repository / NEW).mkdir()
    (repository / NEW / "submission.json").symlink_to("/etc/passwd")


def _program(repository: Path) -> None:
    put(repository, f"{NEW}/submission.json")
    (repository / NEW / "submission.json").chmod(0o755)


def _submodule(repository: Path) -> None:
    inner = repository / NEW
    put(inner, "submission.json")
    git(inner, "init", "-q")
    git(inner, "add", "-A")
    git(inner, "commit", "-q", "-m", "inner")


def _two(repository: Path) -> None:
    put(repository, f"{NEW}/submission.json")
    put(repository, "leaderboard/results/lab__second/submission.json")


def _code_too(repository: Path) -> None:
    put(repository, f"{NEW}/submission.json")
    put(repository, "mrb/code.py", "import os")


def _workflow_too(repository: Path) -> None:
    put(repository, f"{NEW}/submission.json")
    put(repository, ".github/workflows/evil.yml")


def _changes(repository: Path) -> None:
    put(repository, "leaderboard/results/lab__old/submission.json", '{"better": true}')


def _removes(repository: Path) -> None:
    (repository / "leaderboard/results/lab__old/submission.json").unlink()


def _into_an_old_one(repository: Path) -> None:
    put(repository, "leaderboard/results/lab__old/rankings/x.parquet")


def _in_other_letters(repository: Path) -> None:
    put(repository, "leaderboard/results/LAB__old/submission.json")


def _large(repository: Path) -> None:
    put(repository, f"{NEW}/submission.json")
    (repository / NEW / "rankings").mkdir()
    with (repository / NEW / "rankings" / "x.parquet").open("wb") as file:
        file.truncate(100 * 1024 * 1024)


def _nothing(repository: Path) -> None:
    """An empty commit."""


def _named(path: str) -> Callable[[Path], None]:
    return lambda repository: put(repository, path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_link, "mode 120000: a link"), (_link_for_a_file, "mode 120000: a link"), (_program, "mode 100755"),
        (_submodule, "mode 160000"), (_two, "2 folders: a pull request adds one submission"),
        (_code_too, "'mrb/code.py': a submission touches nothing outside"), (_nothing, "nothing is added"),
        (_workflow_too, "evil.yml': a submission touches nothing outside"), (_changes, "is there already"),
        (_removes, "is there already"), (_into_an_old_one, "'lab__old': a submission of this name is there already"),
        (_in_other_letters, "'LAB__old': a submission of this name is there already"),
        (_large, "104857600 bytes"), (_named(f"{NEW}/run.sh"), "no file of a submission"),
        (_named(f"{NEW}/rankings/deep/x.parquet"), "no file of a submission"),
        (_named(f"{NEW}/rankings/$(touch x).parquet"), "no file of a submission"),
        (_named(f"{NEW}/rankings/a\nb.parquet"), "no file of a submission"),
        (_named("leaderboard/results/a b/submission.json"), "is not the name of a submission"),
        (_named("leaderboard/results/.git-hooks/submission.json"), "is not the name of a submission"),
        (_named("leaderboard/results/x\u202ey/submission.json"), "is not the name of a submission"),
    ],
)  # fmt: skip
def test_everything_else_is_refused_in_one_line(
    repository: Path, tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    change(repository)
    done = run(repository, tmp_path / "out")
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("refused: ") and words in line
    assert not (tmp_path / "out").exists()


def test_names_and_limits_are_those_of_the_validator(script: ModuleType) -> None:
    from mrb.submission import rankings, schema
    from mrb.submission import reader as folder

    assert script.MAX_FILE_BYTES == rankings.MAX_RANKING_BYTES and script.MAX_BYTES == folder.MAX_TOTAL_BYTES
    assert script.MAX_FILES == schema.MAX_TASKS + 1
    assert script.FILE.fullmatch(schema.SUBMISSION_FILE)
    assert script.FILE.fullmatch(f"{schema.RANKINGS_FOLDER}/mini-faq-t2t.parquet")


def test_the_workflow_runs_base_code_with_a_token_that_reads() -> None:
    text = "\n".join(line for line in WORKFLOW.read_text().splitlines() if not line.lstrip().startswith("#"))
    assert (
        "pull_request_target:" in text and "secrets" not in text and "cache" not in text.replace("--no-cache-dir", "")
    )
    assert re.search(r"^permissions:\n  contents: read\n\n", text, re.MULTILINE) and "write" not in text
    assert "persist-credentials: false" in text
    assert re.findall(r"ref: (.*)", text) == ["${{ github.event.pull_request.base.sha }}"], (
        "nothing else is checked out"
    )
    actions = re.findall(r"uses: (\S+)", text)
    assert actions and all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) for action in actions)
    scripts = re.findall(r"run: (?:\|\n((?: {10}.*\n?)+)|(.*))", text)
    assert len(scripts) == 4
    assert not any("${{" in one for pair in scripts for one in pair), "nothing is pasted into a script"
    given = set(re.findall(r"\$\{\{ (.*?) \}\}", text))
    pull = "github.event.pull_request."
    assert given == {f"{pull}{name}" for name in ("number", "base.sha", "head.sha")} | {"runner.temp"}

"""Nothing private leaves: every file of a run, a first stage, a training, a submission and a board is searched for
planted secrets, paths and the machine's name."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from mrb._util.redact import PATH, SECRET, hide_secrets, is_secret_name, redact, redact_text
from mrb.cli.main import cli, main
from mrb.errors import AdapterError, MRBError
from mrb.evaluation.lock import lock_folder
from mrb.leaderboard.build import build
from mrb.rerankers.declaration import load_reranker
from mrb.rerankers.plugins import load_adapter
from mrb.results.schema import read_run
from tests.builders.submissions import trial_run

TASK = "mini-faq-t2t"

# Option -> the value planted. Each holds a word that occurs nowhere else.
SECRETS = {
    "api_key": "planted-01",
    "apikey": "planted-02",
    "hf_token": "planted-03",
    "token": "planted-04",
    "passwd": "planted-05",
    "auth": "planted-06 of two words",
    "credentials": '{"user": "planted-07", "pin": "planted-08"}',
    "bearer": "planted-09",
    "clientSecret": "planted-10",
    "secret_access_key": "planted-11",
    "db_password": "planted-12",
    "headers": '{"Authorization": "Bearer planted-13", "X-Api-Key": "planted-14", "accept": "json"}',
    "proxies": '["http://me:planted-15@proxy.example.org:80", {"cookie": "planted-16"}]',
    "endpoint": "https://planted-17:planted-18@example.org/v1?token=planted-19&size=3",
    "note": "Authorization: Bearer planted-20",
    "fallback": "sk-planted21planted21planted21",
}
PATHS = {
    "weights": "{home}/planted-models/v2",
    "tokenizer": "file://{home}/planted-models/tok.json",
    "listing": '["{home}/planted-a", "/srv/planted-b/c"]',
    "extra": "size=3 weights=/srv/planted-b/v3",
}
ADAPTER = '''
class Careless:
    """Tells its secrets wherever it can."""

    def __init__(self, {parameters}):
        self.told = [{names}]
        self.version = "1 of " + weights

    def {method}
'''
SCORE = "score(self, request):\n        return [float(len(d.text) % 97) for d in request.candidates]\n"
SEARCH = (
    "search(self, data, depth):\n"
    "        ids = sorted(list(data.corpus.rows)[:depth])\n"
    "        for query_id in data.queries:\n"
    "            yield query_id, ids, [float(-n) for n in range(len(ids))]\n"
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home, and the working folder in it."""
    home = tmp_path / "home" / "plantedname"
    (home / "work").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HF_ENDPOINT", "https://planted-30:planted-31@hub.example.org")
    monkeypatch.setenv("OPENAI_API_KEY", "planted-32-of-the-environment")
    monkeypatch.setattr(socket, "gethostname", lambda: "plantedhost.local")
    monkeypatch.chdir(home / "work")
    return home


def _options(home: Path) -> dict[str, str]:
    return SECRETS | {name: value.format(home=home) for name, value in PATHS.items()}


def _write_adapter(name: str, method: str) -> None:
    names = [*SECRETS, *PATHS]
    text = ADAPTER.format(
        parameters=", ".join(f'{one}: str = ""' for one in names), names=", ".join(names), method=method
    )
    Path(f"{name}.py").write_text(text)


def _left(folder: Path) -> Iterator[str]:
    """Every planted word that a file or file name under `folder` holds, with the file."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    for path in files:
        for word in (b"planted-", b"planted21", b"plantedname", b"plantedhost", b"/srv/"):
            if word in path.read_bytes().replace(b"(path)/planted-", b"") or word in path.name.encode():
                yield f"{path.relative_to(folder)}: {word.decode()}"


@pytest.mark.slow
def test_no_file_of_a_run_a_submission_or_a_board_holds_anything_private(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_adapter("careless", SCORE)
    words = [word for name, value in _options(home).items() for word in ("--set", f"{name}={value}")]
    run = ["run", "--model", "careless", "--suite", "mini", "--limit", "3", *words]
    monkeypatch.setattr("sys.argv", ["mrb", *run, "--out", str(home / "work" / "runs")])
    done = CliRunner().invoke(cli, [*run, "--out", str(home / "work" / "runs")])
    assert done.exit_code == 0, done.exception
    told = [done.output]
    submit = ["submission", "make", "runs/careless", "--organisation", "lab", "--model-name", "m", "--allow-incomplete"]
    for command in (
        submit,
        ["submission", "validate", "submissions/lab__m"],
        ["leaderboard", "build", "submissions", "runs/careless"],
    ):
        done = CliRunner().invoke(cli, command)
        assert done.exit_code == 0, (command, done.output, done.exception)
        told.append(done.output)
    verify = ["submission", "verify", "submissions/lab__m", "--model", "careless", "--queries", "2", *words]
    done = CliRunner().invoke(cli, verify)
    assert done.exit_code == 0, done.exception
    for folder in ("runs", "submissions", "site", "verified"):
        assert not list(_left(Path(folder))), folder
    assert not [line for line in told if "planted-" in line.replace(f"{PATH}/planted-", "") or "plantedhost" in line]
    record = read_run(Path("runs/careless"))
    assert record.reranker.options["api_key"] == record.reranker.options["hf_token"] == SECRET
    assert str(record.reranker.options["weights"]).startswith("(path)/v2-")
    assert json.loads(str(record.reranker.options["headers"])) == {
        "Authorization": SECRET, "X-Api-Key": SECRET, "accept": "json"
    }  # fmt: skip
    assert record.reranker.options["endpoint"] == f"https://{SECRET}@example.org/v1?token={SECRET}&size=3"


def test_a_resume_sees_another_path_and_not_another_secret(home: Path) -> None:
    _write_adapter("careless", SCORE)
    options = _options(home)
    folder = trial_run(Path("runs"), model="careless", limit=3, **options)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.name == "journal"}
    trial_run(Path("runs"), model="careless", limit=3, **options | {"api_key": "planted-another", "token": "planted-x"})
    assert {path: path.read_bytes() for path in before} == before
    for change in ({"weights": f"{home}/other/v2"}, {"extra": "size=4"}, {"headers": '{"accept": "xml"}'}):
        with pytest.raises(MRBError, match="holds scores of another run"):
            trial_run(Path("runs"), model="careless", limit=3, **options | change)


def test_no_error_tells_a_secret(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("loud.py").write_text(
        "class Loud:\n"
        "    def __init__(self, api_key: str = '', limit_key: int = 0, headers: dict = {}):\n"
        "        self.api_key, self.headers = api_key, headers\n"
        "    def score(self, request):\n"
        "        raise RuntimeError(f'401 for {self.api_key!r} with {self.headers} at https://me:planted-x@example.org')\n"
    )
    run = ["run", "--model", "loud", "--task", TASK]
    commands = (
        [*run, "--set", "api_key=planted-01", "--set", f"headers={SECRETS['headers']}"],
        [*run, "--set", "limit_key=planted-02"],
        [*run, "--set", "api-key=planted-03"],
        [*run, "--set", "unknown_token=planted-04"],
        ["check", "loud", "--set", "api_key=planted-05"],
        [*run, "sk-planted21planted21planted21"],
    )  # fmt: skip
    for command in commands:
        monkeypatch.setattr("sys.argv", ["mrb", *command])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        assert ended.value.code == 2 and "planted" not in told.out + told.err, told
    assert not list(_left(Path("runs")))


def test_lists_of_first_stages_hold_nothing_private(home: Path) -> None:
    _write_adapter("finder", SEARCH)
    words = [word for name, value in _options(home).items() for word in ("--set", f"{name}={value}")]
    done = CliRunner().invoke(
        cli, ["candidates", "make", "--first-stage", "finder", "--task", TASK, "--out", "lists", *words]
    )
    assert done.exit_code == 0, (done.output, done.exception)
    assert not list(_left(Path("lists"))) and (Path("lists") / f"{TASK}.manifest.json").is_file()


def test_what_an_older_version_left_does_not_reach_the_board(home: Path) -> None:
    folder = trial_run(Path("runs"), limit=3)
    for path in (folder / "run.json", folder / TASK / "result.json"):
        value = json.loads(path.read_text())
        value["reranker"]["options"] = {"api_key": "planted-01", "weights": f"{home}/planted-models/v2"}
        path.write_text(json.dumps(value))
    build([folder], Path("site"))
    assert not list(_left(Path("site")))


def test_a_folder_in_use_names_the_process_and_not_the_machine(home: Path) -> None:
    with lock_folder(Path("held")):
        with pytest.raises(MRBError, match=r"in use by process \d+ on this machine"), lock_folder(Path("held")):
            pass
        assert not list(_left(Path("held")))


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        *((name, True) for name in SECRETS if name not in ("headers", "proxies", "endpoint", "note", "fallback")),
        ("Authorization", True), ("X-Api-Key", True), ("HF_TOKEN", True), ("openaiKey", True), ("--api-key", True),
        ("yes_token", False), ("pad_token", False), ("max_tokens", False), ("tokenizer", False), ("api_key_env", False),
        ("api_keys", True), ("api_key_2", True), ("key2", True), ("secrets", True), ("db_passwords", True),
        ("hfTokens", True), ("aws_creds", True), ("access_token_1", True), ("2", False), ("top_10", False),
        ("image_tokens", False), ("tokens_2", False), ("key_value_heads", False),
        ("token_hf", True), ("key_openai", True), ("private_key_pem", True), ("auth_header", True), ("user_pass", True),
        ("pw", True), ("aws_access_key_id", True), ("password_file", False), ("token_type", False), ("key_dim", False),
        ("score_key", False), ("author", False), ("monkey", False), ("keys", False), ("max_new_tokens", False),
    ],
)  # fmt: skip
def test_names_of_secrets(name: str, secret: bool) -> None:
    assert is_secret_name(name) == secret


@pytest.mark.parametrize(
    "text",
    [
        "runs/x", "yes / no", "a/b/c", "hf://datasets/a/b@" + "0" * 40 + "/x", "https://example.org/v1?size=3",
        "Qwen/Qwen3-VL-Reranker-2B", "mini-faq-t2t", "queries are image; the reranker takes text", "1 of 3", "",
        "(path)/v2-12ab", "(withheld)", "../lists", "C++ and D", "12:30", "t2i/i2t",
    ],
)  # fmt: skip
def test_what_is_public_stays_as_it_is(text: str) -> None:
    assert redact_text(text) == text == hide_secrets(text)


@pytest.mark.parametrize(
    "text",
    [
        "a: B(password={})", "config=Client(url='x', api_key='{}')", "thing: other: key = {}", "'a': {{'token': '{}'}}",
        "url: https://example.org/x?size=3&token={}", "note='size=1, password={}'",
    ],
)  # fmt: skip
def test_a_secret_in_the_value_of_another_name_is_hidden(text: str) -> None:
    assert redact_text(text.format("swordfish-in-a-value")) == text.format(SECRET)


def test_secrets_are_searched_in_linear_time() -> None:
    assert redact_text("a=" * 200_000) == "a=" * 200_000


def test_what_was_replaced_stays_as_it_is(home: Path) -> None:
    options = {**_options(home), "n": 3, "flag": True, "none": None, "number_key": 12345}
    once = redact(options)
    assert redact(once) == once and once["n"] == 3 and once["flag"] is True and once["number_key"] == SECRET
    assert redact(["mrb", "--api-key", "planted", "--set", "a=1"]) == ["mrb", "--api-key", SECRET, "--set", "a=1"]
    assert redact_text(str(home)) == redact_text("/home/somebody") == redact_text("C:\\Users\\somebody") == PATH


@pytest.mark.torch
def test_records_and_cards_of_training_hold_nothing_private(home: Path) -> None:
    from mrb.training.card import write_card
    from mrb.training.data.prepare import Contamination
    from mrb.training.data.write_dataset import Dropped
    from mrb.training.recipe import load_recipe
    from mrb.training.record import TrainingRecord, read_training_record, write_training_record

    nothing = Dropped(groups=0, positives=0, negatives=0, hits={})

    def made(folder: str) -> TrainingRecord:
        text = f'schema_version = 1\ntitle = "t"\n[model]\npath = "{folder}"\n[data]\ngroups = ["{home}/g.jsonl"]\n'
        Path("mine.toml").write_text(text)
        loaded = load_recipe("mine.toml")
        return TrainingRecord(
            mrb_version="0.1.0",
            name=loaded.name,
            recipe=loaded.recipe,
            changed=(),
            recipe_sha256=loaded.sha256,
            sources=(),
            contamination=Contamination(checked=(), unknown=(), dropped=nothing),
            groups=1,
            steps=1,
            command=("mrb", "train", f"{home}/mine.toml", "--hub-token", "planted-01"),
            environment={"processor": "of plantedhost"},
            packages={"python": "3.11"},
        )

    record = made(f"{home}/planted-models/v2")
    folder = Path("trained")
    write_training_record(folder, record)
    write_card(folder, record)
    assert (folder / "README.md").is_file() and not list(_left(folder))
    read = read_training_record(folder)
    assert read is not None and read.identity() == record.identity()
    assert read.identity() != made(f"{home}/other-models/v2").identity()


def test_an_adapter_gets_its_secrets_as_they_are(home: Path) -> None:
    _write_adapter("careless", SCORE)
    built = load_adapter("careless", _options(home))
    assert built.target.told == list(_options(home).values())
    assert load_reranker("careless", _options(home)).target.told == built.target.told
    with pytest.raises(AdapterError, match="has no option 'planted'"):
        load_adapter("careless", {"planted": "x"})

"""Submissions that mean harm: each is refused by name, or what it says is shown as dead text.

| threat | here | what becomes of it |
|---|---|---|
| markup, formulas | names, words, environment, command, options | names refused; words dead on pages and in exports |
| script URLs, lookalike hosts | links | refused |
| bidirectional, control and half characters, other encodings | every text | refused, or written out (`\\u{202e}`) |
| huge, infinite and false numbers | model, options, results | refused |
| deep nesting, keys that occur twice, too many of anything | submission.json | refused |
| paths, Windows names, names that differ in capitals | tasks, organisation, files | refused |
| links, pipes, folders, stray files, 100 MB files | the folder | refused, unread |
| zip and parquet bombs, lying footers, readers that hang | rankings | refused in a process that can be ended |

`tests/leaderboard/test_hostile.py` opens what is rendered in Chromium, on every kind of page.
"""

from __future__ import annotations

import json
import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mrb.errors import ResultError
from mrb.leaderboard.build import build
from mrb.results.export import format_csv
from mrb.submission.as_run import to_run
from mrb.submission.reader import read_submission_folder
from mrb.submission.validate import validate_submission
from tests.builders.pages import read_pages

TASK = "mini-faq-t2t"
MARKUP = "</script><img src=x onerror=alert(1)><a href='javascript:alert(1)'>{{ 7*7 }}</a>"
BIDI, CONTROL, FORMULA = "abc\u202egnp.exe", "a\x1b[2Jb\x00c", "=HYPERLINK(1)"
TEXTS = {"markup": MARKUP, "bidi": BIDI, "control": CONTROL, "formula": FORMULA, "long": "x" * 5000}
Json = dict[str, Any]
Change = Callable[[Json], object]
Damage = Callable[[Path], object]


def edit(folder: Path, change: Change) -> Path:
    path = folder / "submission.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    return folder


def refusal(folder: Path) -> str:
    """The one printable line with which a submission is refused, which names its folder."""
    with pytest.raises(ResultError) as caught:
        validate_submission(read_submission_folder(folder))
    message = str(caught.value)
    assert str(folder) in message and len(message) < 1000
    assert message.isprintable(), "nothing of a stranger may steer a terminal"
    return message


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# Text


def _identity(value: Json, name: str, text: object) -> None:
    """The reranker's declarations, wherever they stand."""
    for reranker in (value["reranker"], *(result["reranker"] for result in value["results"].values())):
        reranker[name] = text


REFUSED_TEXTS: dict[str, Callable[[Json, str], object]] = {
    "model.organisation": lambda v, t: v["model"].update(organisation=t),
    "model.name": lambda v, t: v["model"].update(name=t),
    "model.variant": lambda v, t: v["model"].update(variant=t),
    "model.licence": lambda v, t: v["model"].update(licence=t),
    "model.links": lambda v, t: v["model"].update(links=[t]),
    "model.kind": lambda v, t: v["model"].update(kind=t),
    "reranker.name": lambda v, t: _identity(v, "name", t),
    "suite_version": lambda v, t: v.update(suite_version=t),
    "suite": lambda v, t: v.update(suite=t),
    "training": lambda v, t: v["training"].update({TASK: t}),
}


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("field", REFUSED_TEXTS)
def test_names_are_refused(submission: Path, field: str, kind: str) -> None:
    edit(submission, lambda v: REFUSED_TEXTS[field](v, TEXTS[kind]))
    assert field.partition(".")[0].partition("_")[0] in refusal(submission)


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "http://example.org", "//example.org",
        "https://example.org/\"onclick=x", "https://example.org/ x", "https://user:pw@example.org", "https://[::1]/",
        "https://example.org:8443/", "https://exаmple.org/", "https://example.org/\u202e", "https://127.0.0.1/",
        "https://localhost/x", "https://example.org/\\..\\x", "file:///etc/passwd", "https://",
    ],
)  # fmt: skip
def test_links_that_are_no_plain_https_are_refused(submission: Path, link: str) -> None:
    edit(submission, lambda v: v["model"].update(links=[link]))
    assert "model.links.0" in refusal(submission)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["markup", "formula"])
def test_words_that_may_be_anything_are_dead_on_the_page_and_in_exports(
    submission: Path, tmp_path: Path, kind: str
) -> None:
    text = TEXTS[kind].replace("://", "")

    def hostile(value: Json) -> None:
        _identity(value, "version", text)
        _identity(value, "source", text)
        _identity(value, "options", {"note": text + BIDI + CONTROL, text: 1})
        value["environment"].update(processor=text, cores=text)
        value["command"].append(text + BIDI + CONTROL)
        value["not_covered"].append({"task": "mini-flag-t2i", "reason": text})

    edit(submission, hostile)
    assert validate_submission(read_submission_folder(submission)).recomputed == (TASK,)
    pages = read_pages(build([submission], tmp_path / "site").parent)
    stated = read_submission_folder(submission).submission.model.links
    for name in ("index.html", f"models/{submission.name}.html", f"tasks/{TASK}.html", "models.html"):
        tags, links = pages[name].tags, pages[name].links
        scripts = [attributes for tag, attributes in tags if tag == "script"]
        assert scripts and all(attributes.keys() == {"src", "defer"} for attributes in scripts)
        assert all((attributes["src"] or "").removeprefix("../").startswith("static/") for attributes in scripts)
        assert not {tag for tag, _ in tags} & {"iframe", "object", "style", "base", "form action"}
        images = [attributes["src"] for tag, attributes in tags if tag == "img"]
        assert images in ([], [f"../badges/{submission.name}.svg"]), "the board's own badge, on the model's page"
        assert not [name for _, attributes in tags for name in attributes if name.startswith("on") or name == "style"]
        assert not [
            link for link in links if ":" in link and not link.startswith(("https://arxiv.org/", "data:,", *stated))
        ]
        assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x1b]", pages[name].source)
    cells = [
        cell for line in format_csv(to_run(read_submission_folder(submission))).splitlines() for cell in line.split(",")
    ]
    assert cells and not [cell for cell in cells if cell.startswith(("=", "+", "@")) or re.match("-[^0-9]", cell)]


@pytest.mark.parametrize("kind", ["bidi", "control"])
@pytest.mark.parametrize("field", ["version", "source"])
def test_characters_that_cannot_be_seen_are_refused_where_words_are_shown(
    submission: Path, field: str, kind: str
) -> None:
    edit(submission, lambda v: _identity(v, field, TEXTS[kind]))
    assert f"reranker.{field}" in refusal(submission)


# Numbers and nesting


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("NaN", "NaN is not a number"), ("Infinity", "Infinity is not a number"), ("1e999", "larger than any number"),
        ("-1e999", "larger than any number"), ("1" * 5000, "not valid JSON"), ("1" * 400, "parameters"),
        ("1e300", "parameters"), ("-1", "parameters"), ("0", "parameters"), ("true", "parameters"),
        ('"12"', "parameters"), ("0x10", "not valid JSON"), ("1.5", "parameters"),
    ],
)  # fmt: skip
def test_numbers_out_of_range_are_refused(submission: Path, number: str, words: str) -> None:
    path = submission / "submission.json"
    path.write_text(path.read_text().replace('"parameters": 1000', f'"parameters": {number}', 1))
    assert words in refusal(submission)


@pytest.mark.parametrize("number", ["1e308", "1" * 300, "-5"])
def test_numbers_in_results_are_held_to_what_there_is(submission: Path, number: str) -> None:
    path = submission / "submission.json"
    text = re.sub(r'"queries": 12', f'"queries": {number}', path.read_text(), count=1)
    assert number in text
    path.write_text(text)
    assert "queries" in refusal(submission)


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
def test_deep_nesting_is_refused(submission: Path, opening: str) -> None:
    path = submission / "submission.json"
    path.write_text(opening * 100_000)
    assert "not valid JSON" in refusal(submission)
    path.write_text(path.read_text()[: len(opening) * 500])
    assert "not valid JSON" in refusal(submission)


def test_a_value_nested_to_the_limit_is_refused_without_a_crash(submission: Path) -> None:
    edit(submission, lambda v: v["reranker"].update(options={"x": json.loads("[" * 300 + "]" * 300)}))
    assert "recursion limit exceeded" in refusal(submission)
    edit(submission, lambda v: v["reranker"].update(options={"x": [[[1]]]}))
    assert "reranker.options.x" in refusal(submission)


def test_a_key_that_stands_twice_is_refused(submission: Path) -> None:
    path = submission / "submission.json"
    path.write_text(path.read_text().replace('"suite": "mini"', '"suite": "mrb", "suite": "mini"', 1))
    assert "the key 'suite' occurs twice" in refusal(submission)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v["environment"].update({f"package-{n}": "1" for n in range(100)}), "environment"),
        (lambda v: v["command"].extend(["x"] * 500), "command"),
        (lambda v: v["command"].append("x" * 5000), "command"),
        (lambda v: v["model"].update(links=["https://example.org/"] * 11), "model.links"),
        (lambda v: v["timings"].update({f"task-{n}": {"seconds": 1.0, "pairs": 1} for n in range(300)}), "timings"),
        (lambda v: v["not_covered"].extend([{"task": "mini-flag-t2i", "reason": "x"}] * 300), "not_covered"),
    ],
)  # fmt: skip
def test_counts_are_capped(submission: Path, change: Change, words: str) -> None:
    assert words in refusal(edit(submission, change))


HALF = r"\ud800"  # half a character: no text that could be written anywhere


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: "\ufeff" + text, "not valid JSON|Invalid JSON"), (lambda text: text + "{}", "Extra data"),
        (lambda text: text.replace('"options": {}', '"options": {"x": "' + HALF + '"}'), "half of a character"),
        (lambda text: text.replace('"options": {}', '"options": {"' + HALF + '": 1}'), "half of a character"),
        (lambda text: text.replace('"environment": {', '"environment": {"gpu": "' + HALF + '", '), "half of a char"),
        (lambda text: text.replace('"options": {}', '"options": {"x": 1, "x": 2}'), "'x' occurs twice"),
        (lambda text: text.replace('"organisation": "mrb"', '"organisation": "m\u0433b"'), "model.organisation"),
    ],
)  # fmt: skip
def test_text_that_is_no_text_is_refused(submission: Path, change: Callable[[str], str], words: str) -> None:
    path = submission / "submission.json"
    original = path.read_text()
    path.write_text(change(original))
    assert path.read_text() != original
    assert re.search(words, refusal(submission))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-7"])
def test_another_encoding_is_refused(submission: Path, encoding: str) -> None:
    path = submission / "submission.json"
    path.write_bytes(path.read_text().replace('"mini"', '"mini\u00e9"').encode(encoding))
    assert "submission.json" in refusal(submission)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["__proto__", "constructor", "toString", "hasOwnProperty"])
def test_names_that_scripts_know_are_words(submission: Path, tmp_path: Path, name: str) -> None:
    edit(submission, lambda v: _identity(v, "options", {name: "x"}))
    page = build([submission], tmp_path / "site").parent / "models" / f"{submission.name}.html"
    assert f"{name}=&#34;x&#34;" in page.read_text()

"""`mrb run --dry-run`: what a run needs, counted; the first bad image, named; speed, as a range that holds."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from mrb._util.format import Screen, format_size
from mrb.data.items import Item
from mrb.data.task import TYPES, load_suite, load_task
from mrb.errors import DataError, MRBError, ResultError
from mrb.evaluation import dry_run as timing
from mrb.evaluation.dry_run import probe, report_dry_run
from mrb.evaluation.estimate import (
    Range,
    TaskEstimate,
    count_from_registry,
    find_rate,
    format_estimate,
    parse_rates,
    read_rates,
)
from mrb.evaluation.plan import Plan, make_plan
from mrb.evaluation.spec import RunSpec, select_tasks
from mrb.evaluation.workload import Extent, format_extents, measure_extent
from mrb.rerankers.reranker import Request
from mrb.results.schema import RunRecord, TaskTiming, write_run
from tests.builders.adapters import toy_reranker
from tests.builders.toy import encoded, toy_candidates, toy_data, toy_plan


def picture(colour: str) -> bytes:
    data: bytes = encoded(Image.new("RGB", (4, 3), colour))
    return data


@pytest.fixture
def pictures() -> Callable[..., Plan]:
    """A plan with two queries and three documents; `bad` replaces the image of document `c`."""

    def make(bad: bytes | None = None, depth: int = 3) -> Plan:
        red, blue = picture("red"), picture("blue")
        data = toy_data(
            {"q0": ("which?", red), "q1": "a longer question"},
            {"a": ("text", red), "b": (None, blue), "c": ("x" * 50, bad or blue)},
            {"q0": {"a": 1}, "q1": {"b": 1}},
        )
        lists = toy_candidates({"q0": ["a", "b", "c"], "q1": ["b", "a"]})
        return make_plan(data, lists, depth)

    return make


def test_images_are_counted_once_by_content(pictures: Callable[..., Plan]) -> None:
    extent = measure_extent(pictures())
    size = len(picture("red")) + len(picture("blue"))
    assert (extent.images, extent.image_bytes, extent.longest_text) == (2, size, 50)
    assert extent.plan.pairs == 5


def test_what_no_query_is_shown_is_not_read(pictures: Callable[..., Plan]) -> None:
    assert measure_extent(pictures(b"no image", depth=2)).longest_text == len("a longer question")


@pytest.mark.parametrize("bad", [b"no image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0\x00"])
def test_the_first_bad_image_is_named(pictures: Callable[..., Plan], bad: bytes) -> None:
    with pytest.raises(DataError, match="corpus, 'c'"):
        measure_extent(pictures(bad))


def test_no_pixel_is_decoded(pictures: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mrb.data.items.decode_image", None)
    whole = picture("green")
    assert measure_extent(pictures(whole[:-20])).images == 3, "the header of a truncated image is sound"


class Clock:
    """The time that adapters of these tests say they take, in place of the machine's, which may be busy."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What the probe reads its times from."""
    found = Clock()
    monkeypatch.setattr(timing, "time", found)
    return found


def test_the_estimate_holds_the_true_time(clock: Clock) -> None:
    def score(request: Request) -> list[float]:
        clock.sleep(0.002 * len(request.candidates))
        return [0.0] * len(request.candidates)

    estimate = probe(toy_reranker(score), measure_extent(toy_plan(40, 25)))
    # 1,000 pairs take 2 seconds; 1 + 2 + ... + 64 pairs, each twice, fit into one, 128 more do not.
    assert (estimate.seconds.low, estimate.seconds.high) == pytest.approx((2 / timing.MARGIN, 2 * timing.MARGIN))
    assert estimate.pairs == 127
    assert clock.now <= timing.PROBE_SECONDS


def test_what_a_document_costs_once_is_counted_once(clock: Clock) -> None:
    class Keeps:
        def __init__(self) -> None:
            self.seen: set[str] = set()

        def score(self, request: Request) -> list[float]:
            clock.sleep(0.002 * len({item.text for item in request.candidates} - self.seen))
            self.seen |= {item.text for item in request.candidates}
            return [0.0] * len(request.candidates)

    extent = measure_extent(toy_plan(400, 25))
    assert (extent.plan.pairs, extent.documents) == (10_000, 25)
    assert probe(toy_reranker(Keeps()), extent).seconds.high < 0.1, "10,000 pairs of 25 documents: 0.05 seconds, not 20"


def test_a_slow_model_is_asked_for_one_pair_and_gets_a_wide_range(clock: Clock) -> None:
    asked: list[int] = []

    def score(request: Request) -> list[float]:
        asked.append(len(request.candidates))
        clock.sleep(5.0)
        return [0.0] * len(request.candidates)

    estimate = probe(toy_reranker(score), measure_extent(toy_plan(3, 5)))
    assert (asked, estimate.pairs) == ([1], 1)
    assert (estimate.seconds.low, estimate.seconds.high) == pytest.approx((15 * 5.0 / 2, 15 * 5.0 * 2))


def test_a_group_comes_with_new_queries_and_then_with_earlier_ones() -> None:
    calls: list[tuple[str, int]] = []

    def score(request: Request) -> list[float]:
        calls.append((request.query.text[-1], len(request.candidates)))
        return [0.0] * len(request.candidates)

    estimate = probe(toy_reranker(score), measure_extent(toy_plan(4, 3)))
    assert calls == [("0", 1), ("1", 2), ("0", 2), ("2", 3), ("3", 1), ("1", 3), ("2", 1)]
    assert estimate.pairs == 1 + 2 + 4


def options(
    suite: str, tmp_path: Path, *task_ids: str, model: str = "no_such_model", limit: int | None = None
) -> RunSpec:
    spec = select_tasks(suite, task_ids, (), None)
    return replace(spec, model=model, out=tmp_path / "runs", limit=limit)


def said(asked: RunSpec, rate: float | None = None) -> str:
    rates = None if rate is None else parse_rates([str(rate)])
    return "\n".join(report_dry_run(asked, rates, source="assumed"))


def test_at_a_given_rate_the_registry_answers_and_nothing_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mrb.evaluation.workload.load_plan", None)
    text = said(options("mrb", tmp_path), 5.0)
    assert all(task_id in text for task_id in load_suite("mrb").tasks)
    assert (
        "40 tasks: 253,975 queries, 25,397,500 pairs, 65.2 GB to fetch and 27 tasks of unknown size, "
        "1,411.0 h of scoring"
    ) in text
    assert "rates are assumed. Neither data nor model was loaded" in text
    (line,) = [line for line in text.splitlines() if line.startswith("nights ")]
    assert line.split() == ["nights", "i2i", "2,120", "212,000", "634", "MB", "none", "yet", "5", "11.8", "h"]
    assert " 0.0 GB" not in text and " 0 MB" not in text
    mini = said(options("mini", tmp_path), 5.0)
    assert "9 tasks: 1,506 queries, 37,650 pairs, 0 MB to fetch, 2.1 h of scoring" in mini
    assert list(tmp_path.iterdir()) == []


def test_tasks_of_the_hub_get_the_speed_on_embedded_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "PROBE_SECONDS", 0.05)
    (tmp_path / "words.py").write_text(
        "class Words:\n    inputs = ('text',)\n"
        "    def score(self, request):\n        return [1.0 for _ in request.candidates]\n"
    )
    monkeypatch.chdir(tmp_path)
    text = said(options("mrb", tmp_path, "scifact", "nights", model="words"))
    assert "takes text (1 task): nights" in text and "Rates are those on the embedded task of the same type" in text
    rows = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert rows["nights"].split()[-2:] == ["-", "-"]
    assert "30,000" in rows["scifact"] and " - " in rows["scifact"], "the speed is a range"
    assert "of scoring for 1 of 2" in text and "mini-" not in text


def test_sample_and_limit_are_counted(tmp_path: Path) -> None:
    def counted(suite: str, limit: int | None) -> dict[str, tuple[int, int]]:
        asked = options(suite, tmp_path, "arguana", "touche2020", limit=limit)
        found = {task.id: count_from_registry(task, asked) for task in asked.tasks}
        return {task_id: (counts["queries"], counts["pairs"]) for task_id, counts in found.items()}

    assert counted("mrb", None) == {"arguana": (1406, 140_600), "touche2020": (49, 4_900)}
    assert counted("mrb-lite", None) == {"arguana": (200, 20_000), "touche2020": (49, 4_900)}
    assert counted("mrb-lite", 7) == {"arguana": (7, 700), "touche2020": (7, 700)}


@pytest.mark.parametrize(
    ("gigabytes", "text"),
    [
        (20.1, "20.1 GB"), (1.0, "1.0 GB"), (0.634, "634 MB"), (0.08, "80 MB"), (0.0018, "1.8 MB"),
        (0.00003, "0.03 MB"),
        (0.0, "0 MB"), (None, "unknown"),
    ],
)  # fmt: skip
def test_sizes_under_a_gigabyte_are_in_megabytes(gigabytes: float | None, text: str) -> None:
    assert format_size(gigabytes) == text


def test_the_report_of_the_data_sums() -> None:
    extents = [Extent(toy_plan(30, 20), 20, 5, 2_500_000, 1234), Extent(toy_plan(10, 20), 20, 0, 0, 10)]
    text = format_extents(extents)
    assert "2.5" in text and "1,234 characters" in text
    assert "2 tasks: 40 queries, 800 pairs, 5 distinct images of 2.5 MB" in text


def test_a_report_fits_the_screen_and_its_styles_stay(tmp_path: Path) -> None:
    screen = Screen(60, colour=True)
    pieces = list(report_dry_run(options("mrb", tmp_path), parse_rates(["5"]), source="assumed", screen=screen))
    lines = "\n".join(pieces).splitlines()
    assert all(len(re.sub(r"\x1b\[\d+m", "", line)) <= 60 for line in lines)
    assert any(line.startswith("\x1b[2mnot shown at 60 columns: ") for line in lines)


def scoring(task_id: str, queries: int, seconds: Range | None) -> TaskEstimate:
    return TaskEstimate(load_task(task_id), {"queries": queries, "pairs": 100 * queries}, None, "-", seconds)


def test_the_time_of_workers_and_its_price() -> None:
    rows = [scoring("scifact", 300, Range(3600, 7200)), scoring("trec-covid", 2, Range(7200, 7200))]
    text = format_estimate(rows, "pairs", "scoring", workers=4, price=2.5)
    assert "302 queries, 30,200 pairs, 0 MB to fetch and 2 tasks of unknown size, 3.0 h - 4.0 h of scoring\n" in text
    # Four workers share the first task, two the second, which has only two queries: 15 or 30 minutes, and an hour.
    assert "\n4 workers: 75 min - 1.5 h of scoring, 12.50 - 15.00 at 2.5 per worker-hour\n" in text
    assert text.endswith("disk: journals of 0.13 MB, and the download on every machine")


def test_a_task_without_a_rate_is_counted_and_has_no_time() -> None:
    rows = [scoring("scifact", 300, Range(60, 60)), scoring("nights", 10, None)]
    text = format_estimate(rows, "pairs", "scoring", workers=2)
    assert "60 s of scoring for 1 of 2\n2 workers: 30 s of scoring for 1 of 2\n" in text
    assert "scoring" not in format_estimate(rows[1:], "pairs", "scoring", workers=2, price=1.0)


def test_rates_are_by_type_or_for_all() -> None:
    rates = parse_rates(["100", "t2vd=20"])
    assert rates["t2t"] == Range(100, 100) and rates["t2vd"] == Range(20, 20) and set(rates) == set(TYPES)
    assert set(parse_rates(["t2i=5"])) == {"t2i"}


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        (["fast"], "--rate fast: wanted"),
        (["t2t="], "--rate t2t=: wanted"),
        (["-1"], "--rate -1: wanted"),
        (["nan"], "--rate nan: wanted"),
        (["inf"], "--rate inf: wanted"),
        (["t2x=3"], "'t2x' is not a task type"),
        (["t2t=3", "t2t=4"], "given twice for t2t"),
        (["3", "4"], "given twice for all types"),
    ],
)
def test_rates_that_are_none_are_refused(rates: list[str], message: str) -> None:
    with pytest.raises(MRBError, match=message):
        parse_rates(rates)


def test_without_a_rate_for_any_task_there_is_no_estimate(tmp_path: Path) -> None:
    with pytest.raises(MRBError, match="no rate for any of these tasks, which are of type i2i"):
        list(report_dry_run(options("mrb", tmp_path, "nights"), parse_rates(["t2t=1"])))


def test_a_run_has_rates_of_its_tasks_and_of_their_types(tmp_path: Path) -> None:
    def write(timings: dict[str, tuple[float, int]]) -> None:
        record = RunRecord(
            schema_version=1, mrb_version="0", reranker=toy_reranker(lambda request: []).info, suite=None,
            suite_version=None,
            tasks=tuple(timings), not_covered=(), command=(), environment={"workers": "2"},
            timings={name: TaskTiming(seconds=seconds, pairs=pairs) for name, (seconds, pairs) in timings.items()},
        )  # fmt: skip
        write_run(tmp_path, record)

    write({"mini-flag-t2i": (10.0, 1000), "mini-faq-t2t": (4.0, 100)})
    rates = read_rates(tmp_path)
    assert rates["mini-flag-t2i"] == rates["t2i"] == Range(50, 50), "1,000 pairs in 10 seconds by two workers"
    assert find_rate(rates, load_task("scifact")) == Range(12.5, 12.5)
    assert find_rate(rates, load_task("docvqa")) is None
    write({})
    with pytest.raises(ResultError, match="no task was timed"):
        read_rates(tmp_path)
    with pytest.raises(ResultError, match=r"run\.json"):
        read_rates(tmp_path / "none")


def test_what_the_adapter_cannot_score_is_named_before_anything_is_scored(pictures: Callable[..., Plan]) -> None:
    class Refuses:
        def check_item(self, item: Item) -> None:
            if item.image is not None and max(item.image.size) > 100:
                raise item.image.error("too thin")

        def score(self, request: Request) -> list[float]:
            raise AssertionError("scored")

    thin = measure_extent(pictures(encoded(Image.new("RGB", (1, 300)))))
    with pytest.raises(DataError, match=r"^task toy, query 'q0', document 'c': .*: too thin$"):
        timing._probe_extents(toy_reranker(Refuses()), [thin])

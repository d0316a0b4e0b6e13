"""What `listwise` does apart from its model: the prompt, reading an order, the window's way, cutting documents."""

from __future__ import annotations

import random

import pytest

from mrb.baselines.rerankers.listwise import find_fair_limit, format_prompt, parse_order, slide_window
from mrb.errors import AdapterError
from mrb.rerankers.declaration import load_reranker


def test_the_prompt_is_that_of_the_source() -> None:
    assert format_prompt("red fox", ["a", "b"]) == (
        "Query: red fox\n\nRank these passages from most to least relevant:\n[1]: a\n[2]: b\n\nRanking:"
    )


@pytest.mark.parametrize(
    ("answer", "order"),
    [
        ("[2] > [1] > [4] > [3]", [1, 0, 3, 2]),
        ("The order is [4]>[3]  >  [2] >\n[1]. Because", [3, 2, 1, 0]),
        ("[1] and then [2] > [1] > [4] > [3]", [1, 0, 3, 2]),
        ("[2] > [1] > [4]", None),
        ("[2] > [1] > [4] > [4]", None),
        ("[2] > [1] > [4] > [5]", None),
        ("[0] > [1] > [2] > [3]", None),
        ("[2], [1], [4], [3]", None),
        ("2 > 1 > 4 > 3", None),
        ("[" + "9" * 5000 + "] > [1] > [2] > [3]", None),
        ("", None),
    ],
)
def test_an_order_is_read_or_it_is_malformed(answer: str, order: list[int] | None) -> None:
    assert parse_order(answer, 4) == order


def test_a_short_window_reads_as_many_places() -> None:
    assert parse_order("[2] > [1]", 2) == [1, 0]
    assert parse_order("[2] > [1] > [3]", 2) == [1, 0]  # what follows is not asked for


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 9, 10, 25])
def test_a_perfect_judge_brings_the_best_to_the_front(count: int) -> None:
    relevance = random.Random(count).sample(range(count), count)
    shown: list[list[int]] = []

    def judge(window: list[int]) -> list[int]:
        shown.append(list(window))
        return sorted(range(len(window)), key=lambda place: -relevance[window[place]])

    order = slide_window(count, 4, 2, judge)
    assert sorted(order) == list(range(count))
    best = sorted(range(count), key=lambda position: -relevance[position])
    assert order[: min(count, 2)] == best[:2]  # window - stride places are certain after one pass
    if 1 < count <= 4:
        assert order == best
    assert len(shown) == (0 if count < 2 else 1 + max(0, -(-(count - 4) // 2)))
    if count > 4:
        assert shown[0] == list(range(count - 4, count))  # from the bottom


def test_windows_go_up_by_the_stride_and_end_at_the_top() -> None:
    starts: list[int] = []

    def note(window: list[int]) -> list[int]:
        starts.append(window[0])
        return list(range(len(window)))

    assert slide_window(9, 4, 2, note) == list(range(9))
    assert starts == [5, 3, 1, 0]
    starts.clear()
    slide_window(10, 5, 1, note)
    assert starts == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    ("lengths", "room", "limit"),
    [([1, 2, 3], 100, 3), ([10, 10], 20, 10), ([10, 10], 10, 5), ([2, 50, 60], 42, 20), ([5, 5], 0, 1), ([0, 0], 9, 1)],
)
def test_documents_are_cut_to_one_length_and_only_if_they_must(lengths: list[int], room: int, limit: int) -> None:
    assert find_fair_limit(lengths, room) == limit
    if room >= len(lengths):
        assert sum(min(length, limit) for length in lengths) <= room


@pytest.mark.parametrize("options", [{"stride": "4"}, {"stride": "0"}, {"window": "1", "stride": "1"}])
def test_a_stride_that_lets_nothing_rise_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(AdapterError, match="the stride must be from 1 to window - 1"):
        load_reranker("listwise", options)

from __future__ import annotations

from mrb.data.inputs import Inputs

TEXT_QUERIES = Inputs(query=("text",), document=("text", "image"))


def test_inputs_are_shown_once_if_both_sides_take_the_same() -> None:
    assert Inputs.both("text", "image+text").format() == "text, image+text"
    assert TEXT_QUERIES.format() == "queries: text; documents: text, image"


def test_inputs_add_up_side_by_side() -> None:
    assert TEXT_QUERIES.add(Inputs.both("image+text")) == Inputs(
        query=("text", "image+text"), document=("text", "image", "image+text")
    )
    assert TEXT_QUERIES.add(TEXT_QUERIES) == TEXT_QUERIES

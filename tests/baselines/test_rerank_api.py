"""`rerank-api` against a real HTTP server on the loopback: the wire format, every fault, where the key may not be."""

from __future__ import annotations

import base64
import email.utils
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mrb.baselines._util.http_client import ServiceError
from mrb.baselines._util.rerank_shapes import SHAPES, ShapeName
from mrb.data.inputs import PLURAL, Inputs
from mrb.data.items import Item
from mrb.errors import AdapterError
from mrb.rerankers.declaration import LoadedReranker, load_reranker
from mrb.rerankers.reranker import Request
from tests.builders.command import read_error, run_mrb
from tests.builders.rerank_server import Fault, Server, answer, drop, half, sleep
from tests.builders.services import harness, picture

pytestmark = pytest.mark.torch

KEY = "sk-very-secret-0123456789"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def load(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., LoadedReranker]]:
    """`load(name=value, ...)`: the adapter as the command line builds it."""
    made: list[LoadedReranker] = []
    monkeypatch.setenv("RERANK_KEY", KEY)

    def build(**options: str) -> LoadedReranker:
        made.append(load_reranker("rerank-api", {"url": server.url, "model": "toy", **options}))
        return made[-1]

    yield build
    for reranker in made:
        reranker.close()


def ask(reranker: LoadedReranker, query: Item, candidates: list[Item]) -> list[float]:
    request = Request("Find it.", query, candidates, 0)
    scores: list[float] = reranker.loop.run(reranker.target.score(request))
    return scores


QUERY = Item("red fox")
DOCUMENTS = [Item("blue"), Item("red fox"), Item("red")]
EXPECTED = [0, 2, 1]


# The wire format


def test_text_goes_as_cohere_and_jina_take_it(server: Server, load: Callable[..., LoadedReranker]) -> None:
    assert ask(load(), QUERY, DOCUMENTS) == EXPECTED
    assert server.calls == [{"model": "toy", "query": "red fox", "documents": ["blue", "red fox", "red"], "top_n": 3}]
    assert server.paths == ["/v1/rerank"]
    assert server.headers[0]["content-type"] == "application/json"
    assert "authorization" not in server.headers[0]


def test_the_key_goes_into_one_header(server: Server, load: Callable[..., LoadedReranker]) -> None:
    ask(load(api_key_env="RERANK_KEY"), QUERY, DOCUMENTS)
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert KEY not in json.dumps(server.calls)


def test_instruction_and_further_fields_go_where_the_user_says(
    server: Server, load: Callable[..., LoadedReranker]
) -> None:
    reranker = load(instruction_field="instruction", extra='{"use_activation": false}')
    ask(reranker, QUERY, DOCUMENTS)
    assert server.calls[0]["instruction"] == "Find it."
    assert server.calls[0]["use_activation"] is False
    with pytest.raises(AdapterError, match="'query' is set by the adapter itself"):
        load(extra='{"query": "another"}')
    with pytest.raises(AdapterError, match="'top_n' is set by the adapter itself"):
        load(instruction_field="top_n")


def test_pictures_go_as_data_urls_in_the_shape_of_vllm(server: Server, load: Callable[..., LoadedReranker]) -> None:
    reranker = load(inputs='["text", "image", "image+text"]')
    assert (reranker.info.inputs, reranker.info.max_images) == (Inputs.both("text", "image", "image+text"), 1)
    red = picture(Image.new("RGB", (4, 3), "red"))
    query = Item("which one", red)
    ask(reranker, query, [Item("", red), Item("red", red), Item("red")])
    encoded = base64.b64encode(red.encoded).decode()
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}}
    assert server.calls[0]["query"] == {"content": [part, {"type": "text", "text": "which one"}]}
    assert server.calls[0]["documents"] == [
        {"content": [part]},
        {"content": [part, {"type": "text", "text": "red"}]},
        "red",
    ]
    several = load(inputs='["text", "image"]', max_images="null")
    assert several.info.max_images is None and load(max_images="2").info.max_images == 2
    ask(several, Item("which one"), [Item("", images=[red, red])])
    assert server.calls[1]["documents"] == [{"content": [part, part]}]


def test_cohere_and_jina_get_texts_alone(server: Server, load: Callable[..., LoadedReranker]) -> None:
    """The fields of docs.cohere.com/reference/rerank and jina.ai/reranker."""
    assert ask(load(shape="cohere"), QUERY, DOCUMENTS) == EXPECTED
    assert server.calls == [{"model": "toy", "query": "red fox", "documents": ["blue", "red fox", "red"], "top_n": 3}]
    said = read_error(AdapterError, load, shape="cohere", inputs='["text", "image"]')
    assert said == "rerank-api: shape=cohere takes documents of text, not image"
    assert "is for shape=vllm" in read_error(AdapterError, load, shape="cohere", max_images="2")


@pytest.mark.parametrize("shape", SHAPES)
def test_inputs_by_side_are_those_that_the_shape_holds(load: Callable[..., LoadedReranker], shape: ShapeName) -> None:
    """Nemotron or LightOn-PW behind vLLM: texts as queries, pages as documents."""
    queries, documents = SHAPES[shape].queries, SHAPES[shape].candidates
    stated = json.dumps({"query": ["text"], "document": documents})
    assert load(shape=shape, inputs=stated).info.inputs == Inputs(query=("text",), document=documents)
    assert load(shape=shape, inputs=json.dumps(documents)).info.inputs == Inputs(query=queries, document=documents)
    for side, taken in (("query", queries), ("document", documents)):
        wide = json.dumps({"query": ["text"], "document": ["text"]} | {side: ["text", "image"]})
        if "image" in taken:
            assert load(shape=shape, inputs=wide)
        else:
            said = read_error(AdapterError, load, shape=shape, inputs=wide)
            assert said == f"rerank-api: shape={shape} takes {PLURAL[side]} of text, not image"


def test_openrouter_gets_an_image_under_its_own_name(server: Server, load: Callable[..., LoadedReranker]) -> None:
    """Documents are texts or `{text, image}`, queries texts (openrouter.ai/docs, operations/document.md)."""
    reranker = load(shape="openrouter", inputs='["text", "image", "image+text"]')
    assert reranker.info.inputs == Inputs(query=("text",), document=("text", "image", "image+text"))
    red = picture(Image.new("RGB", (4, 3), "red"))
    assert ask(reranker, QUERY, [Item("", red), Item("red fox", red), Item("red")]) == EXPECTED
    url = f"data:image/png;base64,{base64.b64encode(red.encoded).decode()}"
    assert server.calls[0] == {
        "model": "toy",
        "query": "red fox",
        "documents": [{"image": url}, {"text": "red fox", "image": url}, "red"],
        "top_n": 3,
    }
    documented = {  # the page's own example of an answer
        "model": "cohere/rerank-v3.5",
        "results": [{"document": {"text": "Paris is the capital of France."}, "index": 0, "relevance_score": 0.98}],
        "id": "gen-rerank-1234567890-abc",
        "usage": {"search_units": 1, "total_tokens": 150},
    }
    server.faults.append(answer(200, documented))
    assert ask(reranker, QUERY, [Item("Paris is the capital of France.")]) == [0.98]


def test_tei_gets_texts_and_answers_with_a_list(server: Server, load: Callable[..., LoadedReranker]) -> None:
    """`POST /rerank` of text-embeddings-inference; at most 32 texts a call, its own limit."""
    reranker = load(shape="tei")
    assert ask(reranker, QUERY, DOCUMENTS) == EXPECTED
    assert server.calls == [{"query": "red fox", "texts": ["blue", "red fox", "red"], "raw_scores": True}]
    ask(load(shape="tei", extra='{"raw_scores": false, "truncate": true}'), QUERY, DOCUMENTS * 11)
    assert [(len(call["texts"]), call["raw_scores"], call["truncate"]) for call in server.calls[1:]] == [
        (32, False, True),
        (1, False, True),
    ]
    server.faults.append(answer(200, {"results": []}))
    with pytest.raises(ServiceError, match="wrong answer: no list"):
        ask(reranker, QUERY, DOCUMENTS)
    with pytest.raises(AdapterError, match="'texts' is set by the adapter itself"):
        load(shape="tei", extra='{"texts": []}')


def test_long_lists_are_cut_and_put_together_again(server: Server, load: Callable[..., LoadedReranker]) -> None:
    documents = [Item("red fox"), Item("blue"), Item("red"), Item("fox red blue"), Item("")]
    found = ask(load(max_documents="2"), QUERY, documents)
    assert found == [2, 0, 1, 2, 0]
    assert [call["documents"] for call in server.calls] == [["red fox", "blue"], ["red", "fox red blue"], [""]]
    assert [call["top_n"] for call in server.calls] == [2, 2, 1]
    setwise = load(max_documents="2", kind="setwise")
    assert setwise.info.kind == "setwise"
    with pytest.raises(AdapterError, match="cannot be cut into several calls"):
        harness(setwise, [Request("", QUERY, documents, 1)])


# Several at a time, not too many


def test_as_many_calls_as_asked_for_are_in_flight(server: Server, load: Callable[..., LoadedReranker]) -> None:
    server.delay = 0.1
    requests = [Request("", Item(f"red {n}"), DOCUMENTS, n) for n in range(12)]
    found = harness(load(concurrency="3"), requests)
    assert sorted(found) == list(range(12))
    assert server.most_busy == 3


def test_the_rate_limit_spaces_the_calls(server: Server, load: Callable[..., LoadedReranker]) -> None:
    requests = [Request("", QUERY, DOCUMENTS, n) for n in range(6)]
    harness(load(concurrency="6", requests_per_minute="300"), requests)
    gaps = np.diff(sorted(server.times))
    assert np.median(gaps) > 0.1  # 0.2 s are between two departures; arrivals may jitter
    assert server.times[-1] - server.times[0] > 0.9


# Faults that pass


@pytest.mark.parametrize(
    "faults",
    [
        [answer(500, "oops"), answer(503, "again")],
        [drop],
        [half],
        [answer(429, {"error": "slow down"})],
        [sleep(1.5)],
    ],
    ids=["500 twice", "dropped", "half an answer", "429", "time-out"],
)
def test_a_passing_fault_is_tried_again(
    server: Server, load: Callable[..., LoadedReranker], faults: list[Fault]
) -> None:
    server.faults = list(faults)
    assert ask(load(timeout="1"), QUERY, DOCUMENTS) == EXPECTED
    assert len(server.calls) == len(faults) + 1
    assert all(call == server.calls[0] for call in server.calls)


def seconds_later() -> str:
    return email.utils.formatdate(time.time() + 3, usegmt=True)


@pytest.mark.parametrize("header", ["2", seconds_later], ids=["seconds", "date"])
def test_retry_after_holds_every_call_back(
    server: Server, load: Callable[..., LoadedReranker], header: str | Callable[[], str]
) -> None:
    told = header if isinstance(header, str) else header()
    server.faults = [answer(429, "busy", Retry_After=told)]
    reranker = load(concurrency="1")
    harness(reranker, [Request("", QUERY, DOCUMENTS, n) for n in range(2)])
    assert server.times[1] - server.times[0] > 1.5
    assert len(server.calls) == 3


# Faults that stay


@pytest.mark.parametrize(
    ("fault", "calls", "told"),
    [
        (answer(500, b"out of order"), 2, "answered 500: out of order; attempts: 2"),
        (drop, 2, "no answer (RemoteProtocolError"),
        (sleep(1), 2, "no answer (none within 0.4 s); attempts: 2"),
        (answer(401, {"error": f"no such key: {KEY}"}), 1, 'answered 401: {"error": "no such key: ***"}'),
        (answer(400, b"max 50 documents"), 1, "answered 400: max 50 documents"),
        (answer(429, "quota", Retry_After="86400"), 1, "it asks for a pause of 86400 s"),
        (answer(307, "", Location="http://127.0.0.1:1/v1/rerank"), 1, "a redirect, which is not followed"),
        (answer(200, b"<html>"), 1, "the answer is not JSON: <html>"),
        (answer(200, b"[" * 100_000), 1, "the answer is not JSON"),
        (answer(200, [1, 2]), 1, "no list 'results' in it"),
        (answer(200, {"results": [{"index": 3, "relevance_score": 1}]}), 1, "index 3, asked about 3 documents"),
        (answer(200, {"results": [{"index": -1, "relevance_score": 1}]}), 1, "index -1, asked about 3"),
        (answer(200, {"results": [{"index": True, "relevance_score": 1}]}), 1, "index True, asked about 3"),
        (answer(200, {"results": [{"index": [0], "relevance_score": 1}]}), 1, "index [0], asked about 3"),
        (answer(200, {"results": [{"index": 0, "relevance_score": 1}] * 2}), 1, "index 0 twice"),
        (answer(200, {"results": [{"index": 1, "relevance_score": 1}]}), 1, "no score for document 0 of 3"),
        (answer(200, b'{"results": [{"index": 0, "relevance_score": NaN}]}'), 1, "relevance_score nan of document 0"),
        (answer(200, b'{"results": [{"index": 0, "relevance_score": 1e999}]}'), 1, "relevance_score inf"),
        (answer(200, {"results": [{"index": 0, "relevance_score": 10**400}]}), 1, "relevance_score 1000000"),
        (answer(200, {"results": [{"index": 0, "relevance_score": "0.5"}]}), 1, "relevance_score '0.5'"),
        (answer(200, {"results": [{"index": 0}]}), 1, "relevance_score None"),
        (answer(200, {"results": ["x"]}), 1, "index None"),
    ],
)
def test_a_fault_that_stays_is_one_line_with_the_query(
    server: Server,
    load: Callable[..., LoadedReranker],
    caplog: pytest.LogCaptureFixture,
    fault: Fault,
    calls: int,
    told: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    server.faults = [fault] * 5
    reranker = load(api_key_env="RERANK_KEY", retries="1", timeout="0.4")
    with pytest.raises(AdapterError) as caught:
        harness(reranker, [Request("", QUERY, DOCUMENTS, 7)])
    message = str(caught.value)
    assert "task toy, query 'q7'" in message
    assert told in message
    assert "\n" not in message
    assert len(server.calls) == calls
    assert KEY not in message + caplog.text + repr(reranker) + repr(reranker.target) + str(reranker.info)


def test_an_answer_without_end_is_refused(
    server: Server, load: Callable[..., LoadedReranker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mrb.baselines._util.http_client.MAX_ANSWER_BYTES", 1000)
    server.faults = [answer(200, b" " * 2000)]
    with pytest.raises(AdapterError, match="larger than 1000 bytes"):
        harness(load(), [Request("", QUERY, DOCUMENTS, 0)])


# What is refused before anything is sent


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"url": "http://example.com/v1/rerank", "api_key_env": "RERANK_KEY"}, "plain http to example.com"),
        ({"url": "http://192.168.0.4/rerank", "api_key_env": "RERANK_KEY"}, "plain http to 192.168.0.4"),
        ({"url": "http://127.0.0.1.example.com/x", "api_key_env": "RERANK_KEY"}, "plain http to"),
        ({"url": f"https://me:{KEY}@example.com/v1/rerank"}, "no user name, password or query"),
        ({"url": f"https://example.com/v1/rerank?key={KEY}"}, "no user name, password or query"),
        ({"url": "example.com/v1/rerank"}, "full address"),
        ({"url": "ftp://example.com/v1/rerank"}, "full address"),
        ({"url": "http://"}, "full address"),
        ({"url": "http://[::1/rerank"}, "full address"),
        ({"api_key_env": KEY}, "the name of an environment variable"),
        ({"api_key_env": "NOT_SET_ANYWHERE"}, "the environment variable that api_key_env names is not set"),
        ({"api_key_env": "BROKEN_KEY"}, "characters that no header takes"),
        ({"timeout": "0"}, "must be over 0"),
        ({"retries": "-1"}, "retries 0 or more"),
        ({"requests_per_minute": "0"}, "must be over 0"),
        ({"max_documents": "0"}, "max_documents is 0"),
        ({"inputs": '["video"]'}, "inputs"),
        ({"kind": "listwise"}, "kind"),
    ],
)
def test_options_that_will_not_do(
    server: Server,
    load: Callable[..., LoadedReranker],
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, str],
    told: str,
) -> None:
    monkeypatch.setenv("BROKEN_KEY", "one\ntwo")
    with pytest.raises(AdapterError) as caught:
        load(**options)
    assert told in str(caught.value)
    assert KEY not in str(caught.value)
    assert server.calls == []


def test_plain_http_takes_no_proxy_from_the_environment(
    server: Server, load: Callable[..., LoadedReranker], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert ask(load(retries="0", api_key_env="RERANK_KEY"), QUERY, DOCUMENTS) == EXPECTED


# From the command line


def files_under(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_run_is_scored_and_its_files_hold_no_key(server: Server, tmp_path: Path) -> None:
    options = ("--set", f"url={server.url}", "--set", "model=toy", "--set", "api_key_env=RERANK_KEY")
    task = ("--task", "mini-faq-t2t", "--limit", "8")
    server.faults = [answer(500, KEY), drop]
    done = run_mrb(tmp_path, "run", "--model", "rerank-api", *options, *task, RERANK_KEY=KEY)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "runs" / "rerank-api" / "run.json").read_text())
    assert record["reranker"]["options"]["api_key_env"] == "RERANK_KEY"
    assert record["reranker"]["options"]["url"] == server.url
    assert KEY not in done.stdout + done.stderr
    assert KEY.encode() not in files_under(tmp_path)
    server.faults = [answer(403, f"bad key {KEY}".encode())] * 20
    failed = run_mrb(
        tmp_path, "run", "--model", "rerank-api", *options, *task, "--fresh", RERANK_KEY=KEY, MRB_TRACEBACK="1"
    )
    assert failed.returncode != 0
    assert "answered 403: bad key ***" in failed.stderr
    assert KEY not in failed.stdout + failed.stderr
    assert KEY.encode() not in files_under(tmp_path)


def test_check_tells_a_pointwise_model_from_one_that_reads_the_list(server: Server, tmp_path: Path) -> None:
    arguments = ("check", "rerank-api", "--set", f"url={server.url}", "--set", "model=toy", "--task", "mini-faq-t2t")
    done = run_mrb(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    server.place_counts = 1.0
    done = run_mrb(tmp_path, *arguments)
    assert done.returncode == 2
    assert "candidate order dependence" in done.stderr
    done = run_mrb(tmp_path, *arguments, "--set", "kind=setwise")
    assert done.returncode == 0, done.stderr

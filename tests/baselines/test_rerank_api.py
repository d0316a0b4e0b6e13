"""`rerank-api` against a real HTTP server on the loopback: the wire format, every fault, where the key may not be."""

from __future__ import annotations

import base64
import email.utils
import io
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mrb.data.images import ImageCaps
from mrb.data.items import ImageHandle, Item
from mrb.errors import AdapterError
from mrb.rerankers.declaration import LoadedReranker, load_reranker
from mrb.rerankers.reranker import Request
from tests.builders.command import run_mrb
from tests.builders.services import harness, picture

pytestmark = pytest.mark.torch

KEY = "sk-very-secret-0123456789"
Fault = Callable[["_Handler"], bool]
"""What a test wants of one call in place of the honest answer; True if it has answered."""


class Server:
    """A rerank server that answers honestly unless `faults` has something for the next call."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.times: list[float] = []
        self.faults: list[Fault] = []
        self.busy = self.most_busy = 0
        self.delay = 0.0
        self.place_counts = 0.0
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"state": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self._http.handle_error = lambda *_: None  # a client that hung up is part of the tests
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1/rerank"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    state: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        state = self.state
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with state.lock:
            state.calls.append(body)
            state.headers.append({name.lower(): value for name, value in self.headers.items()})
            state.paths.append(self.path)
            state.times.append(time.monotonic())
            state.busy += 1
            state.most_busy = max(state.most_busy, state.busy)
            fault = state.faults.pop(0) if state.faults else None
        try:
            time.sleep(state.delay)
            if fault is None or not fault(self):
                self.send(200, {"results": honest(body, state.place_counts)})
        finally:
            with state.lock:
                state.busy -= 1

    def send(self, status: int, answer: object, **headers: str) -> None:
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the terminal."""


def text_of(side: Any) -> str:
    if isinstance(side, str):
        return side
    return " ".join(part["text"] for part in side["content"] if part["type"] == "text")


def honest(body: dict[str, Any], place_counts: float = 0.0) -> list[dict[str, Any]]:
    """Scores by shared words, best first as the services sort them; only the `top_n` best."""
    words = set(text_of(body["query"]).split())
    scored = [
        {"index": n, "relevance_score": len(words & set(text_of(document).split())) + n * place_counts}
        for n, document in enumerate(body["documents"])
    ]
    return sorted(scored, key=lambda entry: -entry["relevance_score"])[: body["top_n"]]


def answer(status: int, content: object, **headers: str) -> Fault:
    def fault(handler: _Handler) -> bool:
        handler.send(status, content, **headers)
        return True

    return fault


def drop(handler: _Handler) -> bool:
    """Close the connection without a word."""
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True
    return True


def half(handler: _Handler) -> bool:
    """Promise more bytes than are sent."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"results": [')
    handler.wfile.flush()
    return drop(handler)


def sleep(seconds: float) -> Fault:
    def fault(handler: _Handler) -> bool:
        time.sleep(seconds)
        return False

    return fault


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
    scores: list[float] = reranker.runner.run(reranker.target.score(request))
    return scores


QUERY = Item("red fox")
DOCUMENTS = [Item("blue"), Item("red fox"), Item("red")]
EXPECTED = [0, 2, 1]


def decoded(url: str) -> tuple[str, bytes]:
    head, _, data = url.partition(";base64,")
    return head.removeprefix("data:"), base64.b64decode(data, validate=True)


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
    assert reranker.info.inputs == ("text", "image", "image+text")
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


def exif_turned() -> ImageHandle:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (8, 4), "white")
    image.paste("red", (0, 0, 2, 4))
    return picture(image, "JPEG", quality=95, exif=exif)


def noise(mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(1)
    shape = (12, 16) if mode == "L" else (12, 16, len(mode))
    return Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8), mode)


@pytest.mark.parametrize(
    ("handle", "kind", "as_it_is"),
    [
        (picture(noise()), "image/png", True),
        (picture(noise(), "JPEG", quality=80), "image/jpeg", True),
        (picture(noise("L")), "image/png", True),
        (picture(noise(), "WEBP", lossless=True), "image/webp", True),
        (picture(noise("RGBA")), "image/png", False),
        (exif_turned(), "image/png", False),
        (picture(noise(), "BMP"), "image/png", False),
        (picture(noise(), "TIFF"), "image/png", False),
        (picture(noise().quantize(8), "GIF"), "image/png", False),
        (picture(noise("CMYK"), "JPEG"), "image/png", False),
        (picture(noise(), caps=ImageCaps(downscale_pixels=60)), "image/png", False),
    ],
    ids=["png", "jpeg", "grey", "webp", "alpha", "exif", "bmp", "tiff", "gif", "cmyk", "downscaled"],
)
def test_what_is_sent_shows_the_pixels_that_every_adapter_sees(handle: ImageHandle, kind: str, as_it_is: bool) -> None:
    from mrb.baselines._util.data_urls import encode_data_url

    sent_kind, data = decoded(encode_data_url(handle))
    assert sent_kind == kind
    assert (data == handle.encoded) == as_it_is
    plain = Image.open(io.BytesIO(data)).convert("RGB")  # as a server that knows of no EXIF and no ground colour
    assert np.array_equal(np.asarray(plain), np.asarray(handle.open()))


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

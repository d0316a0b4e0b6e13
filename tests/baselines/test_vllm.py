"""`vllm` against a stand-in package on the path, whose signatures are those of vLLM 0.33.0: the calls, the answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mrb.data.inputs import Inputs
from mrb.data.items import Item
from mrb.errors import AdapterError
from mrb.rerankers.declaration import LoadedReranker, load_reranker
from mrb.rerankers.reranker import Request
from tests.builders.command import run_mrb
from tests.builders.services import harness, picture

pytestmark = pytest.mark.torch

STAND_IN = '''
"""LLM, LLM.score and PoolingParams take what they take in vLLM 0.33.0, and nothing else; every call is written down."""
import json, os

__version__ = "0.33.0"

def _note(kind, **fields):
    with open(os.environ["VLLM_NOTES"], "a") as notes:
        notes.write(json.dumps({"kind": kind, **fields}) + "\\n")

class PoolingParams:
    def __init__(self, use_activation=None, dimensions=None, step_tag_id=None, returned_token_ids=None, task=None,
                 requires_token_ids=False, skip_reading_prefix_cache=None, late_interaction_params=None,
                 extra_kwargs=None):
        self.use_activation, self.extra_kwargs = use_activation, extra_kwargs

class Output:
    def __init__(self, score, error):
        self.error, self.outputs = error, type("ScoringOutput", (), {"score": score})()

class LLM:
    def __init__(self, model, *, runner="auto", convert="auto", tokenizer=None, tokenizer_mode="auto",
                 trust_remote_code=False, tensor_parallel_size=1, dtype="auto", quantization=None, revision=None,
                 tokenizer_revision=None, chat_template=None, seed=0, gpu_memory_utilization=0.92,
                 hf_overrides=None, mm_processor_kwargs=None, max_model_len=None):
        _note("llm", model=model, runner=runner, trust_remote_code=trust_remote_code, dtype=dtype, revision=revision,
              tokenizer_revision=tokenizer_revision, gpu_memory_utilization=gpu_memory_utilization,
              hf_overrides=hf_overrides, max_model_len=max_model_len)

    def score(self, data_1, data_2, /, *, use_tqdm=True, pooling_params=None, lora_request=None,
              tokenization_kwargs=None, chat_template=None):
        assert isinstance(data_1, (str, dict)) and isinstance(data_2, list)
        _note("score", query=data_1, documents=data_2, use_tqdm=use_tqdm, chat_template=chat_template,
              use_activation=pooling_params.use_activation, extra_kwargs=pooling_params.extra_kwargs)
        def text(side):
            return side if isinstance(side, str) else " ".join(p.get("text", "picture") for p in side["content"])
        words = set(text(data_1).split())
        return [Output(0.0, "prompt too long") if "FAIL" in text(d) else
                Output(len(words & set(text(d).split())) - 5.0, None) for d in data_2]
'''


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What the stand-in was called with; without it there is no vllm."""
    (tmp_path / "path" / "vllm").mkdir(parents=True)
    (tmp_path / "path" / "vllm" / "__init__.py").write_text(STAND_IN)
    monkeypatch.setenv("VLLM_NOTES", str(tmp_path / "notes"))
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    yield lambda: [json.loads(line) for line in (tmp_path / "notes").read_text().splitlines()]
    sys.modules.pop("vllm", None)


def load(**options: str) -> LoadedReranker:
    return load_reranker("vllm", {"model": "acme/reranker", **options})


def request(query: Item, candidates: list[Item], instruction: str = "Find it.") -> Request:
    return Request(instruction, query, candidates, 0)


def test_texts_and_options(notes: Callable[[], list[dict[str, Any]]]) -> None:
    overrides = {"architectures": ["Qwen3ForSequenceClassification"], "classifier_from_token": ["no", "yes"]}
    reranker = load(
        revision="a" * 40,
        hf_overrides=json.dumps(overrides),
        dtype="bfloat16",
        max_model_len="4096",
        gpu_memory_utilization="0.5",
    )
    found = harness(reranker, [request(Item("red fox"), [Item("a red fox"), Item(""), Item("red")])])
    assert found[0] == [-3, -5, -4]
    built, scored = notes()
    assert built == {
        "kind": "llm",
        "model": "acme/reranker",
        "runner": "pooling",
        "trust_remote_code": False,
        "dtype": "bfloat16",
        "revision": "a" * 40,
        "tokenizer_revision": "a" * 40,
        "gpu_memory_utilization": 0.5,
        "hf_overrides": overrides,
        "max_model_len": 4096,
    }
    assert scored == {
        "kind": "score",
        "query": "red fox",
        "documents": ["a red fox", "", "red"],
        "use_tqdm": False,
        "chat_template": None,
        "use_activation": False,
        "extra_kwargs": None,
    }
    assert reranker.info.inputs == Inputs.both("text")
    assert reranker.info.version == f"1, vllm 0.33.0, weights {'a' * 40}"


def test_pictures_are_content_parts(notes: Callable[[], list[dict[str, Any]]]) -> None:
    reranker = load(inputs='["text", "image", "image+text"]')
    assert reranker.info.inputs == Inputs.both("text", "image", "image+text")
    red = picture(Image.new("RGB", (4, 3), "red"))
    harness(reranker, [request(Item("which", red), [Item("", red), Item("red", red), Item("red")])])
    part = notes()[1]["query"]["content"][0]
    assert part["type"] == "image_url"
    assert part["image_url"]["url"].startswith("data:image/png;base64,")
    assert notes()[1]["query"] == {"content": [part, {"type": "text", "text": "which"}]}
    assert notes()[1]["documents"] == [
        {"content": [part]},
        {"content": [part, {"type": "text", "text": "red"}]},
        "red",
    ]


def test_template_instruction_and_limit(notes: Callable[[], list[dict[str, Any]]], tmp_path: Path) -> None:
    template = tmp_path / "reranker.jinja"
    template.write_text("<Instruct>: {{ instruction }}")
    reranker = load(chat_template=str(template), instruction="true", max_tokens_per_doc="512")
    harness(reranker, [request(Item("red"), [Item("red")], "Find the page.")])
    scored = notes()[1]
    assert scored["chat_template"] == "<Instruct>: {{ instruction }}"
    assert scored["extra_kwargs"] == {
        "max_tokens_per_doc": 512,
        "chat_template_kwargs": {"instruction": "Find the page."},
    }
    template.write_text("another")
    assert load(chat_template=str(template)).info.version != reranker.info.version


def test_a_failed_document_is_no_zero(notes: Callable[[], list[dict[str, Any]]]) -> None:
    with pytest.raises(AdapterError, match=r"task toy, query .q0.: .* candidate 2 of 2: prompt too long"):
        harness(load(), [request(Item("red"), [Item("red"), Item("FAIL")])])
    assert len(notes()) == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"chat_template": "absent.jinja"}, "chat_template=absent.jinja"),
        ({"instruction": "true"}, "needs a chat_template"),
        ({"hf_overrides": "[1]"}, "hf_overrides"),
        ({"dtype": "int8"}, "dtype"),
    ],
)
def test_options_that_will_not_do(
    notes: Callable[[], list[dict[str, Any]]], options: dict[str, str], told: str
) -> None:
    with pytest.raises(AdapterError) as caught:
        load(**options)
    assert told in str(caught.value)


def test_without_vllm_it_is_one_line(tmp_path: Path) -> None:
    done = run_mrb(tmp_path, "check", "vllm", "--set", "model=acme/reranker", "--task", "mini-faq-t2t")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "vllm: vllm cannot be imported" in done.stderr
    assert "pip install vllm==0.33.0" in done.stderr

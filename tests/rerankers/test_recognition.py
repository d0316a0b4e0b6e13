"""What a model is by its files: the museum holds the published configuration files of real models."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mrb.engine.published_prompts import LAYOUTS
from mrb.errors import AdapterError
from mrb.hub.model_files import MAX_BYTES, read_folder_files
from mrb.rerankers.known_models import find_known_models
from mrb.rerankers.recognition import Recognised, _split_template, match_layouts, recognise_model
from tests.builders.museum import exhibits

pytestmark = pytest.mark.torch

Tiny = Callable[[str], Path]

YES_NO = "--model yes-no --set path=acme/model --set layout="
UNKNOWN_PROMPT = "its files do not hold a reranker's prompt, and a wrong prompt gives plausible wrong scores: mrb run"
# By the museum's exhibit: the adapter, or what the refusal says. Their own ids are known; here each has another name.
EXPECTED = {
    "bge_m3": "cross-encoder",
    "ms_marco": "cross-encoder",
    "ms_marco_2021": "cross-encoder",
    "ms_marco_bare": "cross-encoder",
    "zerank": "cross-encoder",
    "ettin": "cross-encoder",
    "minilm": "bi-encoder",
    "qwen3": f"Qwen3ForCausalLM; {UNKNOWN_PROMPT} {YES_NO}... one of bge-reranker-v2-gemma, gmr, ",
    "qwen3_head": "Qwen3ForCausalLM; ",
    "qwen3_8b": "Qwen3ForCausalLM; ",
    "qwen2": "Qwen2ForCausalLM; ",
    "qwen2_large": "Qwen2ForCausalLM; ",
    "gemma": "GemmaForCausalLM; ",
    "qwen2_vl": "Qwen2VLForConditionalGeneration; ",
    "qwen2_vl_7b": "Qwen2VLForConditionalGeneration; ",
    "qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration; ",
    "qwen2_5_vl_3b": "Qwen2_5_VLForConditionalGeneration; ",
    "lychee": "Qwen2_5_VLForConditionalGeneration; ",
    "lamra": "Qwen2VLForConditionalGeneration; ",
    "qwen3_vl": "Qwen3VLForConditionalGeneration; ",
    "qwen3_vl_8b": "Qwen3VLForConditionalGeneration; ",
    "qwen3_5": "Qwen3_5ForConditionalGeneration; ",
    "lighton_lw": "Qwen3_5ForConditionalGeneration; ",
    "lighton_pw": "cross-encoder",
    "jina_m0": "JinaVLForRanking, a class of its own code (modeling.JinaVLForRanking), which no adapter scores",
    "jina_v35": "JinaForRanking, a class of its own code (modeling.JinaForRanking), which no adapter scores",
    "nemotron_rerank": "Mistral3ForSequenceClassification with code of its own (model.Mistral3For",
    "llama_nemotron_vl": "LlamaNemotronVLForSequenceClassification with code of its own",
    "gme": "GmeQwen2VLForVision2Seq, a class of its own code (modeling_gme_qwen2vl.GmeQwen2VLConfig)",
    "gme_7b": "GmeQwen2VLForVision2Seq, a class of its own code",
    "mono_lora": "mono_base; its files do not hold the prompt of its training",
    "swift_lora": "mono_base; its files do not hold the prompt of its training",
    "colqwen_lora": "mono_base; its files do not hold the prompt of its training",
    "clip": "CLIPModel, which no adapter scores as it is",
    "siglip": "SiglipModel, which no adapter scores as it is",
    "siglip2": "a model without an architecture in its config.json, which no adapter scores as it is",
    "siglip_so400m": "SiglipModel, which no adapter scores as it is",
}


def recognise(files: dict[str, object], **options: str) -> Recognised:
    texts = {name: one if isinstance(one, str) else json.dumps(one) for name, one in files.items()}
    return recognise_model("acme/model", texts, options)


def refused(files: dict[str, object], **options: str) -> str:
    with pytest.raises(AdapterError) as caught:
        recognise(files, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_published_model_of_the_museum_is_expected() -> None:
    assert set(EXPECTED) == set(exhibits())


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_real_files_say_what_a_model_is_or_what_to_type(name: str, tiny: Tiny) -> None:
    files = read_folder_files(tiny(name))
    try:
        found = recognise_model("acme/model", files, {})
    except AdapterError as error:
        assert EXPECTED[name] in str(error)
        assert str(error).startswith("acme/model: ")
    else:
        assert found.adapter == EXPECTED[name]


@pytest.mark.parametrize(
    ("repository", "adapter"),
    [
        ("Qwen/Qwen3-Reranker-0.6B", "qwen3-reranker-0.6b"),
        ("Qwen/Qwen3-Reranker-8B", "qwen3-reranker-8b"),
        ("Qwen/Qwen3-VL-Reranker-2B", "qwen3-vl-reranker-2b"),
        ("vec-ai/lychee-rerank-mm", "gmr-7b"),
        ("lightonai/MonoQwen2-VL-v0.1", "monoqwen2-vl"),
        ("jinaai/jina-reranker-m0", "jina-reranker-m0"),
        ("nvidia/Nemotron-3.5-Rerank-8B-BF16", "nemotron-3.5-rerank-8b"),
        ("nvidia/llama-nemotron-rerank-vl-1b-v2", "llama-nemotron-rerank-vl-1b"),
        ("code-kunkun/LamRA-Rank", "lamra-rank"),
        ("code-kunkun/LamRA-Rank-Qwen2.5VL-7b", "lamra-rank-qwen2.5"),
        ("BAAI/bge-reranker-v2-gemma", "bge-reranker-v2-gemma"),
        ("BAAI/bge-reranker-v2-m3", "bge-reranker-v2-m3"),
        ("mixedbread-ai/mxbai-rerank-base-v2", "mxbai-rerank-base-v2"),
        ("mixedbread-ai/mxbai-rerank-large-v2", "mxbai-rerank-large-v2"),
        ("lightonai/LightOn-rerank-LW-2B", "listwise"),
        ("zeroentropy/zerank-2", "zerank-2"),
        ("jinaai/jina-reranker-v3.5", "jina-reranker-v3.5"),
        ("cross-encoder/ettin-reranker-17m-v1", "ettin-reranker-17m"),
        ("cross-encoder/ettin-reranker-1b-v1", "ettin-reranker-1b"),
        ("zeroentropy/zerank-2-reranker", "zerank-2"),
        ("lightonai/LightOn-rerank-PW-0.8B", "lighton-rerank-pw-0.8b"),
        ("lightonai/LightOn-rerank-PW-2B", "lighton-rerank-pw-2b"),
        ("lightonai/LightOn-rerank-PW-4B", "lighton-rerank-pw-4b"),
    ],
)
def test_a_published_model_has_its_own_adapter(repository: str, adapter: str) -> None:
    assert find_known_models()[repository.lower()].adapter == adapter


# Templates: the same texts around the fields as in a layout, and nothing else

JUDGE = "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct"
JUDGE += ' provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
ASKED = '{{ messages | selectattr("role", "eq", "query") | map(attribute="content") | first }}'
SHOWN = ASKED.replace("query", "document")
TOLD = "{{ instruction | default('%s') }}"
WEB = "Given a web search query, retrieve relevant passages that answer the query"
CANDIDATES = "Given a search query, retrieve relevant candidates that answer the query."
QWEN3 = f"{JUDGE}<Instruct>: {TOLD % WEB}\n<Query>: {ASKED}\n<Document>: {SHOWN}<|im_end|>\n<|im_start|>assistant\n"
THOUGHT = "<think>\n\n</think>\n\n"
VISION = f"{JUDGE}<Instruct>: {TOLD % '%s'}<Query>:{ASKED}\n<Document>:{SHOWN}<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("template", "layouts"),
    [
        (QWEN3 + THOUGHT, ["qwen3-reranker"]),
        (QWEN3, []),  # without the empty thought it is another prompt
        ((QWEN3 + THOUGHT).replace("<Query>: ", "<Query>:"), []),
        (VISION % CANDIDATES, ["qwen3-vl-reranker"]),
        (VISION % WEB, ["gmr", "gmr-cl"]),
        (VISION % "", ["gmr", "gmr-cl", "qwen3-vl-reranker"]),
        ("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}", []),
        ("", []),
    ],
)
def test_a_template_is_a_layout_only_to_the_character(template: str, layouts: list[str]) -> None:
    assert [layout.name for layout in match_layouts(template)] == layouts
    config = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"}
    files: dict[str, object] = {"config.json": config, "tokenizer_config.json": {"chat_template": template}}
    if len(layouts) == 1:
        found = recognise(files)
        assert (found.adapter, found.options) == ("yes-no", {"layout": layouts[0]})
    else:
        names = ", ".join(layouts or sorted(layout.name for layout in LAYOUTS))
        assert refused(files).endswith(f"{YES_NO}... one of {names}")


def test_a_named_layout_settles_it() -> None:
    found = recognise({"config.json": {"architectures": ["Qwen3ForCausalLM"]}}, layout="gmr")
    assert (found.adapter, found.options) == ("yes-no", {})
    tuned = {"adapter_config.json": {"base_model_name_or_path": "Qwen/Qwen2-VL-2B-Instruct"}}
    assert recognise(tuned, layout="gmr").adapter == "yes-no"
    assert "LoRA weights on Qwen/Qwen2-VL-2B-Instruct; " in refused(tuned)


@pytest.mark.parametrize("where", ["README.md", "config.json", "adapter_config.json"])
def test_a_model_trained_from_a_reranker_gets_its_layout_suggested(where: str) -> None:
    base = "Qwen/Qwen3-Reranker-0.6B"
    files: dict[str, object] = {"config.json": {"architectures": ["Qwen3ForCausalLM"]}}
    if where == "README.md":
        files[where] = f"---\nbase_model:\n- {base}\n---\n# A model\n"
    elif where == "config.json":
        files[where] = {"architectures": ["Qwen3ForCausalLM"], "_name_or_path": base}
    else:
        files[where] = {"base_model_name_or_path": base}
    assert refused(files).endswith(f"mrb run {YES_NO}qwen3-reranker")


def test_a_folder_of_mrb_train_says_all() -> None:
    settings = {"layout": "gmr-tiny", "max_length": 64, "min_pixels": 1024, "max_pixels": 4096}
    config = {"architectures": ["Qwen2_5_VLForConditionalGeneration"]}
    found = recognise({"config.json": config, "training.json": {"recipe": {"model": settings}}})
    assert found.adapter == "yes-no"
    assert found.options == {name: str(value) for name, value in settings.items()}
    for damaged in (
        {"layout": "mine"},
        settings | {"layout": []},
        settings | {"max_length": "1 --set x=y"},
        settings | {"min_pixels": True},
        [],
    ):
        assert "holds no" not in refused({"config.json": config, "training.json": {"recipe": {"model": damaged}}})


# Classifiers, modules, code of its own


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"id2label": {"0": "a", "1": "b", "2": "c"}}, "with 3 labels, a classifier"),
        ({"num_labels": True, "model_type": "bert"}, "with 2 labels, a classifier"),
        ({}, "with 2 labels, a classifier"),  # the default of transformers
        ({"id2label": {"0": "a"}, "model_type": "qwen3"}, "a decoder with one label, and its files do not say"),
        ({"id2label": {"0": "a"}, "model_type": ["bert"]}, "a decoder with one label"),
    ],
)
def test_what_is_no_plain_cross_encoder_is_refused(config: dict[str, object], told: str) -> None:
    assert told in refused({"config.json": {"architectures": ["XForSequenceClassification"], **config}})


def test_a_decoder_that_sentence_transformers_saved_is_a_cross_encoder() -> None:
    config = {"architectures": ["Qwen3ForSequenceClassification"], "model_type": "qwen3", "id2label": {"0": "LABEL_0"}}
    marked = config | {"sentence_transformers": {"version": "5.1.1"}}
    assert recognise({"config.json": marked}).adapter == "cross-encoder"
    chat: dict[str, object] = {"config.json": marked, "tokenizer_config.json": {"chat_template": QWEN3}}
    assert "do not say with which prompt it was trained" in refused(chat)
    assert refused({"config.json": config}).endswith("mrb run --model cross-encoder --set path=acme/model")


@pytest.mark.parametrize(
    ("kind", "types", "expected"),
    [
        ("CrossEncoder", ["sentence_transformers.base.modules.transformer.Transformer"], "cross-encoder"),
        (None, ["sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling"], "bi-encoder"),
        ("SentenceTransformer", ["sentence_transformers.models.StaticEmbedding"], "bi-encoder"),
        ("SparseEncoder", ["sentence_transformers.models.Transformer"], "a SparseEncoder of sentence-transformers"),
        (
            "SentenceTransformer",
            ["custom_st.Transformer"],
            "(custom_st.Transformer), which MRB runs only if you say so",
        ),
    ],
)
def test_modules_of_sentence_transformers(kind: str | None, types: list[str], expected: str) -> None:
    files: dict[str, object] = {
        "modules.json": [{"idx": n, "type": name} for n, name in enumerate(types)],
        "config_sentence_transformers.json": {} if kind is None else {"model_type": kind},
    }
    if expected in ("cross-encoder", "bi-encoder"):
        assert recognise(files).adapter == expected
    else:
        assert expected in refused(files)


@pytest.mark.parametrize(
    ("prompts", "told"),
    [({"query": "query: ", "document": ""}, False), ({"query": "", "document": ""}, True), (None, True), ([1], True)],
)
def test_an_embedding_model_without_a_prompt_says_so(prompts: object, told: bool) -> None:
    settings = {} if prompts is None else {"prompts": prompts}
    types = ["Transformer", "Pooling"]
    modules = [{"type": f"sentence_transformers.models.{name}"} for name in types]
    found = recognise({"modules.json": modules, "config_sentence_transformers.json": settings})
    assert found.what == (
        f"a SentenceTransformer (embeddings, last module Pooling{', no prompt in its files' if told else ''})"
    )


def test_code_of_its_own_runs_only_if_typed() -> None:
    config = {"architectures": ["NewForSequenceClassification"], "model_type": "new", "id2label": {"0": "LABEL_0"}}
    files: dict[str, object] = {"config.json": config | {"auto_map": {"AutoConfig": "configuration.NewConfig"}}}
    typed = "mrb run --model cross-encoder --set path=acme/model --set trust_remote_code=true"
    assert refused(files).endswith(
        f"(configuration.NewConfig), which MRB runs only if you say so; after you have read it: {typed}"
    )
    assert refused(files, trust_remote_code="false").endswith(typed)
    assert refused(files, trust_remote_code="true").endswith(typed)
    modules = files | {"modules.json": [{"type": "sentence_transformers.models.Transformer"}]}
    assert refused(modules).endswith("mrb run --model acme/model --set trust_remote_code=true")
    assert recognise(modules, trust_remote_code="true").adapter == "bi-encoder"


# Hostile files


@pytest.mark.parametrize("sign", ["{{", "{%", "{#", "{{{", "{{ }", "{{}}{%"])
def test_templates_are_read_in_linear_time(sign: str) -> None:
    assert match_layouts(sign * 500_000) == []


@pytest.mark.parametrize(
    "template", ["{{}}a{{ b }}{{", "{{a{{b}}c}}d", "{%{{%}x}}{#y", "{# }} #}{{{x}}}", "{{{%a%}{{b", "a\n{{\n}}{", ""]
)
def test_templates_are_split_as_by_a_regular_expression(template: str) -> None:
    plain = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
    assert _split_template(template) == plain.split(template)


def test_too_many_templates_are_refused() -> None:
    config = {"architectures": ["XForCausalLM"]}
    templates = [{"name": str(n), "template": str(n)} for n in range(100)]
    line = refused({"config.json": config, "tokenizer_config.json": {"chat_template": templates}})
    assert "has 101 chat templates, at most 50 are read" in line


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("config.json", "[" * 100_000, "config.json: "),
        ("config.json", "[]", "config.json is not a JSON object"),
        ("modules.json", "{}", "modules.json is not a JSON list"),
        ("config.json", '{"architectures": {"a": 1}}', "a model without an architecture"),
        ("config.json", '{"architectures": ["\\u001b[31mForCausalLM"]}', " [31mForCausalLM; "),
        ("modules.json", '[1, {"type": 2}]', "with code of its own"),
        ("adapter_config.json", '{"base_model_name_or_path": 3}', "LoRA weights on a base that it does not name"),
        ("README.md", "# nothing", "holds no config.json, modules.json or adapter_config.json"),
    ],
)
def test_damaged_and_hostile_files_are_refused_in_one_line(name: str, content: str, told: str) -> None:
    message = refused({name: content})
    assert told in message
    assert message.isprintable()


def test_files_that_are_too_large_or_no_text_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(AdapterError, match=r"config.json has 4,194,305 bytes, more than the 4,194,304"):
        read_folder_files(tmp_path)
    (tmp_path / "config.json").write_bytes(b"\xff\xfe")
    with pytest.raises(AdapterError, match=r"config.json cannot be read"):
        read_folder_files(tmp_path)

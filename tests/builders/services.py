"""What the tests of services and of small real models share: requests as the harness makes them, pictures, `mrb`."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mrb.data.images import ImageCaps
from mrb.data.items import ImageHandle
from mrb.evaluation.plan import Entry, PlannedRequest
from mrb.evaluation.score import score_all
from mrb.rerankers.declaration import LoadedReranker
from mrb.rerankers.reranker import Request


def harness(reranker: LoadedReranker, requests: Sequence[Request]) -> dict[int, list[float]]:
    """Each request's scores by its key, as the harness asks and checks them; query `q7` has the key 7."""
    asked = []
    for request in requests:
        ids = [f"d{n}" for n in range(len(request.candidates))]
        entry = Entry(f"q{request.key}", ids, np.zeros(len(ids), np.float32))
        asked.append(PlannedRequest(request, entry, np.arange(len(ids))))
    return {item.request.key: scores.tolist() for item, scores in score_all(reranker, asked, "toy")}


def picture(image: Image.Image, kind: str = "PNG", caps: ImageCaps | None = None, **options: Any) -> ImageHandle:
    """`image` as the file that a data set would hold."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return ImageHandle(buffer.getvalue, where="test", caps=caps)


SPREAD = 0.25


def xlm_roberta(folder: Path, *, num_labels: int = 1, headless: bool = False) -> Path:
    """The museum's bge-reranker-v2-m3, of 60 positions; `num_labels` scores a pair, `headless`: the backbone only."""
    import torch

    from tests.builders import museum

    museum.build("bge_m3", folder)
    weights = museum.read_weights(folder)
    if num_labels > 1:
        config = json.loads((folder / "config.json").read_text())
        config["id2label"] = {str(n): f"LABEL_{n}" for n in range(num_labels)}
        config["label2id"] = {f"LABEL_{n}": n for n in range(num_labels)}
        (folder / "config.json").write_text(json.dumps(config))
        width = weights["classifier.out_proj.weight"].shape[1]
        weights |= {"classifier.out_proj.weight": torch.randn(num_labels, width)}
        weights |= {"classifier.out_proj.bias": torch.randn(num_labels)}
    if headless:
        weights = {n.removeprefix("roberta."): w for n, w in weights.items() if not n.startswith("classifier.")}
    museum.write_weights(folder, weights)
    return folder


def byte_tokenizer(*special: str) -> Any:
    """A fast tokenizer with a token for each byte and for each of `special`, padding on the left."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = ["<pad>", "<s>", "</s>", "<unk>", *special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    vocab = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=[token for token in special if token.startswith("<")],
        padding_side="left",
    )


PAIR_TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}:{% for p in m['content'] %}"
    "{% if p['type'] == 'image' %}<image>{% else %}{{ p['text'] }}{% endif %}{% endfor %};{% endfor %}answer:"
)


def llava_cross_encoder(folder: Path) -> Path:
    """A vision-language CrossEncoder, yes against no: LLaVA, whose processor needs no torchvision, and LogitScore."""
    import torch
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.cross_encoder.modules.logit_score import LogitScore
    from transformers import CLIPVisionConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = byte_tokenizer("<image>", "yes", "no")
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=14
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=tiny_llama_config(len(tokenizer)),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        image_seq_length=4,
    )
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=PAIR_TEMPLATE,
    )
    parts = folder / "parts"
    LlavaForConditionalGeneration(config).save_pretrained(parts)
    processor.save_pretrained(parts)
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
    modules = [Transformer(str(parts), transformer_task="any-to-any"), LogitScore(yes, no)]
    CrossEncoder(modules=modules).save_pretrained(str(folder / "model"))
    return folder / "model"


def tiny_llama_config(vocabulary: int) -> Any:
    """A Llama of two layers."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=SPREAD,
        max_position_embeddings=1024,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )


def llama(folder: Path, *special: str, template: str | None = None, headless: bool = False) -> Path:
    """A causal Llama with its own tokenizer; `headless` saves it without its LM head."""
    import torch
    from transformers import LlamaForCausalLM

    tokenizer = byte_tokenizer(*special)
    tokenizer.chat_template = template
    torch.manual_seed(0)
    model = LlamaForCausalLM(tiny_llama_config(len(tokenizer)))
    (model.model if headless else model).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder

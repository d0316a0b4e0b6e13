"""`mteb`: any reranker that the package mteb can load, called as mteb itself calls it in a reranking task.

Source of the interface: mteb 2.26.24 (Apache-2.0), `models/search_wrappers.py` (`SearchCrossEncoderWrapper`) and
`models/model_implementations`. mteb names a commit, modalities and training sets for each of its models. Licence of the
weights: each model's own. Tested here on tiny checkpoints of random weights; never run on published weights here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from mrb._util.home import expand_user
from mrb.baselines._util.data_urls import encode_plain_file
from mrb.baselines._util.lazy_import import check_model_path, import_or_refuse, require_complete_weights
from mrb.baselines._util.request_groups import group_requests
from mrb.data.items import Item
from mrb.data.tables import silence_datasets
from mrb.data.task import MODALITIES, Modality
from mrb.errors import AdapterError, suggest_names, to_one_line
from mrb.rerankers.model_card import ModelCard
from mrb.rerankers.reranker import Request

_INSTALL = "pip install 'mrb[mteb]'"
_LETTERS: dict[Modality, str] = {"text": "t", "image": "i", "image+text": "it"}
"""Modalities as mteb's task categories (`t2it`) spell them."""
_WANTED = ("*.json", "*.safetensors", "*.bin", "*.model", "*.txt", "*.jinja", "*.py")
_BASELINE = "mteb/baseline"
"""mteb's models without weights."""
_WHOLE_LISTS = {"LightOnListwiseRerankerWrapper", "JinaRerankerV3Wrapper", "ListConRanker", "NoRerankingBaseline"}
"""mteb's classes that read all candidates of a query together: their scores depend on the list."""
_TEXT_QUERIES: dict[str, tuple[Modality, ...]] = {
    "nvidia/Nemotron-3.5-Rerank-8B-BF16": MODALITIES,
    "nvidia/llama-nemotron-rerank-vl-1b-v2": MODALITIES,
    "lightonai/LightOn-rerank-": ("text", "image"),
}
"""Models (or how their names begin) that take images in documents only, and what their documents may be.

mteb states modalities of a model, not of its sides. Sources: NVIDIA's chat templates refuse other queries;
`lighton_rerank_models.py` refuses image queries, and documents with both text and image.
"""


class MTEB:
    """Scores are those of mteb's `predict`, from mteb's own data loaders.

    Options: `name` (ORG/NAME of a reranker in mteb's registry, or the folder of a CrossEncoder), `path` (folder of the
    weights; default: the Hub at the commit that mteb names), `device` (default: mteb's choice), `batch_size`,
    `activation` ("none": raw logits where mteb calls a CrossEncoder, so that the sigmoid makes no ties; "model": as
    mteb), `instruction` (pass the task's instruction as the prompt of mteb's task), `load` (further arguments of
    mteb's loader, as JSON), `trust_remote_code` (off: a model whose repository holds code of its own is refused).

    Covers what mteb declares. Raises AdapterError if mteb has no such reranker, if what it needs is not installed, or
    if a weight would be random.
    """

    card = ModelCard(
        licence="its own",
        checkpoint="any reranker that mteb can load",
        takes="what it takes",
        run_here="never",
        compared_with="mteb itself",
        extra="mteb",
        packages=("mteb", "torch", "transformers", "sentence_transformers"),
    )
    name = "mteb"
    version = "1"
    max_images = 1

    def __init__(
        self,
        name: str,
        path: str | None = None,
        device: str | None = None,
        batch_size: int = 32,
        activation: Literal["none", "model"] = "none",
        instruction: bool = True,
        load: dict[str, Any] | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        if batch_size < 1:
            raise AdapterError(f"mteb: batch_size is {batch_size}, wanted a whole number from 1")
        library = import_or_refuse("mteb", "mteb", _INSTALL)
        if expand_user(name).is_dir():
            if path is not None:
                raise AdapterError(f"mteb: name={name} is a folder; path is for the weights of a model that mteb names")
            loaded = _load_folder(check_model_path("mteb", name, "name"), device, load or {}, trust_remote_code)
        else:
            loaded = _load_registered(library, name, path, device, load or {}, trust_remote_code)
        self._model, self._meta, identity = loaded
        self._wrapper = import_or_refuse("mteb", "mteb.models", _INSTALL).SearchCrossEncoderWrapper(self._model)
        self.inputs = _read_inputs(name, self._meta.modalities)
        self.kind = "setwise" if type(self._model).__name__ in _WHOLE_LISTS else "pointwise"
        self.version = f"{self.version}+mteb {library.__version__}+{identity}"
        self._instruction = instruction
        self._encode_kwargs = {"batch_size": batch_size, "show_progress_bar": False}
        if activation == "none" and _calls_cross_encoder(self._model):
            self._encode_kwargs["activation_fn"] = import_or_refuse("mteb", "torch", _INSTALL).nn.Identity()

    def score_stream(self, requests: Iterable[Request]) -> Iterator[tuple[int, Sequence[float]]]:
        """Yield (key, scores) of each request. Several requests go to mteb in one call."""
        for group in group_requests(requests):
            yield from self._score_requests(group)

    def describe(self) -> str:
        """Return the commit, the class and the training sets that mteb states for the model."""
        stated = self._meta.training_datasets
        trained = "not stated" if stated is None else ", ".join(sorted(stated)) or "none"
        commit = f" at {self._meta.revision[:12]}" if self._meta.revision else ""
        return f"{type(self._model).__name__} of mteb{commit}; trained on (by mteb's metadata): {trained}"

    def close(self) -> None:
        """Free the model's memory."""
        self._model = self._wrapper = None

    def _score_requests(self, requests: list[Request]) -> Iterator[tuple[int, Sequence[float]]]:
        found = {request.key: [0.0] * len(request.candidates) for request in requests}
        # mteb's tables have one modality a side, and its tasks one prompt.
        alike: dict[tuple[str, Modality, Modality], list[tuple[Request, int]]] = {}
        for request in requests:
            kinds = [_get_modality(item) for item in request.candidates]
            if self.kind == "setwise" and set(kinds) == {"image", "image+text"}:
                kinds = ["image+text"] * len(kinds)  # as mteb: the text of a page without one is empty
            if self.kind == "setwise" and len(set(kinds)) > 1:
                raise AdapterError(f"mteb: {self._meta.name} takes lists of one modality, and this one is mixed")
            for place, kind in enumerate(kinds):
                key = (request.instruction if self._instruction else "", _get_modality(request.query), kind)
                alike.setdefault(key, []).append((request, place))
        for (instruction, asked, kind), pairs in alike.items():
            for (request, place), score in zip(pairs, self._search(pairs, instruction, asked, kind), strict=True):
                found[request.key][place] = score
        yield from found.items()

    def _search(
        self, pairs: list[tuple[Request, int]], instruction: str, asked: Modality, kind: Modality
    ) -> list[float]:
        """Return mteb's score of each pair, in order."""
        queries = {str(request.key): request.query for request, _ in pairs}
        # A document that several lists hold is one row; in a list that is read as a whole each place is one.
        ids = [_make_id(request, place, whole=self.kind == "setwise") for request, place in pairs]
        documents = {doc: request.candidates[place] for doc, (request, place) in zip(ids, pairs, strict=True)}
        top_ranked: dict[str, list[str]] = {query: [] for query in queries}
        for doc, (request, _) in zip(ids, pairs, strict=True):
            if doc not in top_ranked[str(request.key)]:
                top_ranked[str(request.key)].append(doc)
        task = {"task_metadata": _make_metadata(asked, kind, instruction), "hf_split": "test", "hf_subset": "default"}
        with silence_datasets():  # a bar a table
            self._wrapper.index(_make_table(documents, kind), encode_kwargs=self._encode_kwargs, **task)
            scores = self._wrapper.search(
                _make_table(queries, asked),
                top_ranked=top_ranked,
                top_k=len(documents),
                encode_kwargs=self._encode_kwargs,
                **task,
            )
        return [scores[str(request.key)][doc] for doc, (request, _) in zip(ids, pairs, strict=True)]


def _load_registered(
    library: Any, name: str, path: str | None, device: str | None, load: Mapping[str, Any], trusted: bool
) -> tuple[Any, Any, str]:
    """Return (model, its metadata, identity of the weights) of a model in mteb's registry."""
    from mrb.engine.checkpoint import resolve_checkpoint
    from mrb.engine.identity import hash_checkpoint

    metas = {meta.name: meta for meta in library.get_model_metas()}
    meta = metas.get(name)
    rerankers = sorted(name for name, meta in metas.items() if meta.is_cross_encoder)
    if meta is None:
        raise AdapterError(
            f"mteb: mteb {library.__version__} has no model {to_one_line(name, 80)!r}"
            f"{suggest_names(name, rerankers)}; a CrossEncoder of the Hub runs as --model cross-encoder --set path=..."
        )
    if not meta.is_cross_encoder or meta.loader is None:
        raise AdapterError(
            f"mteb: {name} is no reranker in mteb ({', '.join(meta.model_type)}); see --model bi-encoder"
        )
    identity = f"{name}@{meta.revision}"
    place = name
    if not name.startswith(_BASELINE):
        folder = resolve_checkpoint(path or name, None if path else meta.revision, wanted=_WANTED)
        place, identity = str(folder), hash_checkpoint(folder)
    try:
        with require_complete_weights("mteb", name, needed=False), _guard_remote_code(name, trusted):
            # The folder in place of the name: some of mteb's loaders do not pass on the commit.
            model = meta.model_copy(update={"name": place}).load_model(device=device, **load)
    except ImportError as error:
        raise AdapterError(f"mteb: {name}: {to_one_line(error, 300)}") from error
    model.mteb_model_meta = meta
    return model, meta, identity


def _load_folder(path: str, device: str | None, load: Mapping[str, Any], trusted: bool) -> tuple[Any, Any, str]:
    """Return (model, its metadata, identity of the weights) of a CrossEncoder on disk, wrapped as mteb wraps one."""
    from mrb.engine.identity import hash_checkpoint

    models = import_or_refuse("mteb", "mteb.models", _INSTALL)
    library = import_or_refuse("mteb", "sentence_transformers", _INSTALL)
    folder = expand_user(path)
    with require_complete_weights("mteb", path), _guard_remote_code(path, trusted):
        model = library.CrossEncoder(
            str(folder), device=device, local_files_only=True, trust_remote_code=trusted, **load
        )
    if model.num_labels != 1:
        raise AdapterError(f"mteb: {path} gives {model.num_labels} scores a pair; a reranker gives one")
    wrapped = models.CrossEncoderWrapper(model)
    # mteb takes a CrossEncoder on disk for one of texts, and would drop its images.
    known = [modality for modality in ("text", "image") if model.supports(modality)]
    wrapped.mteb_model_meta = wrapped.mteb_model_meta.model_copy(update={"modalities": known, "revision": None})
    return wrapped, wrapped.mteb_model_meta, hash_checkpoint(folder)


@contextmanager
def _guard_remote_code(name: str, trusted: bool) -> Iterator[None]:
    """Refuse code from a model's repository inside the context, also where mteb itself asks for it."""
    if trusted:
        yield
        return
    library = import_or_refuse("mteb", "transformers.dynamic_module_utils", _INSTALL)
    original = library.get_cached_module_file

    def refuse(*args: Any, **options: Any) -> Any:
        raise AdapterError(f"mteb: {name} runs code from its repository; read it, then --set trust_remote_code=true")

    library.get_cached_module_file = refuse
    try:
        yield
    finally:
        library.get_cached_module_file = original


def _read_inputs(name: str, modalities: Sequence[str]) -> tuple[Modality, ...] | dict[str, tuple[Modality, ...]]:
    if "text" not in modalities:
        raise AdapterError(f"mteb: {name} takes no text; it takes {', '.join(modalities)}")
    for start, documents in _TEXT_QUERIES.items():
        if name.startswith(start):
            return {"query": ("text",), "document": documents}
    return MODALITIES if "image" in modalities else ("text",)


def _calls_cross_encoder(model: Any) -> bool:
    """Return whether mteb passes on what it gets to the `predict` of sentence-transformers, which knows activations."""
    wrapper = import_or_refuse("mteb", "mteb.models", _INSTALL).CrossEncoderWrapper
    library = import_or_refuse("mteb", "sentence_transformers", _INSTALL)
    return isinstance(model, wrapper) and isinstance(getattr(model, "model", None), library.CrossEncoder)


def _get_modality(item: Item) -> Modality:
    if item.image is None:
        return "text"
    return "image+text" if item.text else "image"


def _make_id(request: Request, place: int, *, whole: bool) -> str:
    return f"{request.key}/{place}" if whole else request.candidates[place].content_hash


def _make_table(items: Mapping[str, Item], kind: Modality) -> Any:
    """Return items of one modality as the table that mteb's loaders make of a data set's."""
    import datasets

    features = {"id": datasets.Value("string")}
    columns: dict[str, list[Any]] = {"id": list(items)}
    if "image" in kind:  # before the text: mteb's CrossEncoder gets the parts in the order of the columns
        features["image"] = datasets.Image()
        files = [encode_plain_file(item.image)[0] for item in items.values() if item.image]
        columns["image"] = [{"bytes": file, "path": None} for file in files]
    if "text" in kind:
        features["text"] = datasets.Value("string")
        columns["text"] = [item.text for item in items.values()]
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def _make_metadata(asked: Modality, kind: Modality, instruction: str) -> Any:
    """Return the metadata of a reranking task as mteb has it, with the instruction as its prompt."""
    modules = import_or_refuse("mteb", "mteb.abstasks.task_metadata", _INSTALL)
    return modules.TaskMetadata(
        name="MRB",
        description="A candidate list of MRB",
        dataset={"path": "mrb/candidates", "revision": "0" * 40},
        type="Reranking" if asked == kind == "text" else "Any2AnyReranking",
        category=f"{_LETTERS[asked]}2{_LETTERS[kind]}",
        modalities=sorted({*asked.split("+"), *kind.split("+")}),
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        main_score="ndcg_at_10",
        prompt={"query": instruction} if instruction else None,
    )

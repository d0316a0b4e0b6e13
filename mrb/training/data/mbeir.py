"""Groups of M-BEIR (arXiv 2311.17136), from a folder in the layout of the Hub's TIGER-Lab/M-BEIR.

The queries are in `query/union_train/*.jsonl`, or `query/train/*.jsonl` without it, the documents in
`cand_pool/global/*_train_cand_pool.jsonl`, the instructions in `instructions/*.tsv`; images lie where their paths say.
Each data set of M-BEIR is a source. Hard negatives are those of `neg_cand_list`; random ones are documents of the same
data set that have the same modality as the first positive.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mrb._util.hashing import compute_sample_hash
from mrb.data.items import Item
from mrb.errors import TrainingError
from mrb.training.data.group import TrainingGroup, TrainingItem
from mrb.training.data.rows import open_rows

if TYPE_CHECKING:
    from mrb.training.data.convert import Converter


class MBeir:
    """A folder of M-BEIR: the files of `queries`, and the `others` that are read for them.

    The ids of all documents are in memory, their texts are not.
    """

    def __init__(self, folder: Path, converter: Converter) -> None:
        self.converter = converter
        self.queries = sorted(folder.glob("query/union_train/*.jsonl")) or sorted(folder.glob("query/train/*.jsonl"))
        pools = sorted(folder.glob("cand_pool/global/*_train_cand_pool.jsonl"))
        instructions = sorted(folder.glob("instructions/*.tsv"))
        for found, wanted in (
            (self.queries, "query/union_train/*.jsonl"),
            (pools, "cand_pool/global/*_train_cand_pool.jsonl"),
            (instructions, "instructions/*.tsv"),
        ):
            if not found:
                raise TrainingError(f"{folder}: no {wanted}; wanted the folder of TIGER-Lab/M-BEIR")
        self.others = [*pools, *instructions]
        self._instructions: dict[tuple[str, str, str], str] = {}
        self._names: dict[str, str] = {}
        for path in instructions:
            self._read_instructions(path)
        self._places: dict[str, tuple[int, int]] = {}
        self._kinds: dict[tuple[str, str], list[str]] = {}
        self._pools = [open_rows(path) for path in pools]
        for number, pool in enumerate(self._pools):
            self._read_ids(number, pool)

    def _read_instructions(self, path: Path) -> None:
        """Read the columns query_modality, cand_modality, dataset_name, dataset_id and the prompts, the first used."""
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()[1:], start=2):
            parts = line.split("\t")
            if len(parts) < 5:
                raise TrainingError(f"{path}, line {number}: {len(parts)} columns; wanted 5 or more")
            query, document, name, dataset, prompt = (part.strip() for part in parts[:5])
            self._instructions[dataset, query, document] = prompt
            self._names[dataset] = name.lower()

    def _read_ids(self, number: int, pool: Any) -> None:
        for row in range(len(pool)):
            found = pool[row]
            did, modality = found.get("did"), found.get("modality")
            if not isinstance(did, str) or not isinstance(modality, str):
                raise TrainingError(f"{pool.path}, row {row + 1}: wanted did and modality")
            if did in self._places:
                raise TrainingError(f"{pool.path}, row {row + 1}: document {did} is there twice")
            self._places[did] = number, row
            self._kinds.setdefault((_get_dataset(did), modality), []).append(did)

    def convert(self, row: Mapping[str, Any]) -> TrainingGroup:
        """Return the group of a query."""
        qid, modality = row.get("qid"), row.get("query_modality")
        if not isinstance(qid, str) or not isinstance(modality, str):
            raise TrainingError("wanted qid and query_modality")
        positives, negatives = (_read_ids(row, f"{side}_cand_list") for side in ("pos", "neg"))
        if not positives:
            raise TrainingError(f"query {qid}: no positive")
        dataset = _get_dataset(qid)
        kind = self._read_document(positives[0])["modality"]
        instruction = self._instructions.get((dataset, modality, kind), self.converter.instruction)
        taken = {*positives, *negatives}
        return TrainingGroup(
            instruction=instruction,
            source=f"{self.converter.name}-{self._names.get(dataset, dataset)}",
            query=TrainingItem(self._make_item(row.get("query_txt"), row.get("query_img_path"), qid), qid),
            positives=[self._make_document(did) for did in positives],
            negatives=[
                *(self._make_document(did, rank) for rank, did in enumerate(negatives, start=1)),
                *(
                    self._make_document(did)
                    for did in self._sample(qid, self._kinds[_get_dataset(positives[0]), kind], taken)
                ),
            ],
        )

    def _sample(self, qid: str, dids: list[str], taken: set[str]) -> list[str]:
        """Return random documents, by a hash of the query: the same in every build."""
        rng = np.random.default_rng(compute_sample_hash("m-beir", qid))
        wanted = self.converter.random
        places = rng.integers(0, len(dids), 2 * wanted + len(taken)).tolist() if wanted else []
        return [did for did in dict.fromkeys(dids[place] for place in places) if did not in taken][:wanted]

    def _read_document(self, did: str) -> Mapping[str, Any]:
        if did not in self._places:
            raise TrainingError(f"document {did} is in no file of cand_pool/global")
        number, row = self._places[did]
        return self._pools[number][row]

    def _make_document(self, did: str, rank: int | None = None) -> TrainingItem:
        found = self._read_document(did)
        return TrainingItem(self._make_item(found.get("txt"), found.get("img_path"), did), did, rank)

    def _make_item(self, text: Any, path: Any, where: str) -> Item:
        text = text.strip() if isinstance(text, str) else ""
        if not text and not path:
            raise TrainingError(f"{where}: neither text nor image")
        return Item(text, self.converter.open_image(path, where) if path else None)


def _get_dataset(identifier: str) -> str:
    return identifier.partition(":")[0]


def _read_ids(row: Mapping[str, Any], name: str) -> list[str]:
    """Return the ids of documents of a list, of ids or of objects with them."""
    found = [one.get("did") if isinstance(one, dict) else one for one in row.get(name) or []]
    ids = [one for one in found if isinstance(one, str)]
    if len(ids) < len(found):
        raise TrainingError(f"{name}: wanted ids of documents")
    return list(dict.fromkeys(ids))

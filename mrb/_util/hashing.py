"""All hashes in MRB: digests of files and content, and the two fixed orders (tie-breaking, the lite sample).

The two orders are part of the benchmark: they decide ranks and the queries of `mrb-lite`, so they must be the same on
every machine and in every release. `docs/design/hashes.md` describes them, and `tests/_util/test_hashing.py` has their
test vectors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

_TIE_PERSON = b"mrb-tie-v1"
_SAMPLE_PERSON = b"mrb-sample-v1"


def hash_bytes(data: bytes) -> str:
    """Return the SHA-256 of `data`, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hex digits. The file is read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def dump_canonical_json(value: object) -> bytes:
    """Return `value` as UTF-8 JSON with sorted keys and no white space; ValueError for NaN and infinities."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def hash_json(value: object) -> str:
    """Return the SHA-256 of the canonical JSON of `value`, 64 hex digits."""
    return hash_bytes(dump_canonical_json(value))


def hash_lines(lines: Iterable[bytes]) -> str:
    """Return the SHA-256 over `lines`, each followed by a newline. A table can be hashed without being in memory."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
        digest.update(b"\n")
    return digest.hexdigest()


def compute_tie_hash(task_id: str, query_id: str, doc_id: str) -> int:
    """Return the tie-breaking key of a pair, an unsigned 64-bit integer: of equal scores the smaller key ranks first.

    It is BLAKE2b (8-byte digest, big-endian, `person` = "mrb-tie-v1") over the three ids in UTF-8, each preceded by its
    length in bytes as 4 big-endian bytes, so that different triples never give the same input. It does not depend on
    relevance, first-stage order or file order. A pointwise adapter gets its candidates in this order too.
    """
    return compute_tie_hashes(task_id, query_id, (doc_id,))[0]


def compute_tie_hashes(task_id: str, query_id: str, doc_ids: Iterable[str]) -> list[int]:
    """Return the `compute_tie_hash` of each document of one query. Task and query are hashed only once."""
    shared = _fed(hashlib.blake2b(digest_size=8, person=_TIE_PERSON), task_id, query_id)
    return [int.from_bytes(_fed(shared.copy(), doc_id).digest(), "big") for doc_id in doc_ids]


def compute_sample_hash(task_id: str, query_id: str) -> int:
    """Return the sampling key of a query, an unsigned 64-bit integer: `mrb-lite` takes the queries with the smallest.

    Computed like `compute_tie_hash`, with `person` = "mrb-sample-v1" over (task id, query id).
    """
    digest = _fed(hashlib.blake2b(digest_size=8, person=_SAMPLE_PERSON), task_id, query_id)
    return int.from_bytes(digest.digest(), "big")


def _fed(digest: hashlib.blake2b, *parts: str) -> hashlib.blake2b:
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return digest

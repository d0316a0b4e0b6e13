"""Every hash in MRB: file and content digests, and the two fixed orders (tie-breaking, the lite sample).

The two orders are part of the benchmark: they decide ranks and which queries `mrb-lite` takes, so they must give the
same answer on every machine and in every release. `docs/scoring.md` describes them and `tests/unit/test_hashing.py`
holds their test vectors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

_TIE_PERSON = b"mrb-tie-v1"
_SAMPLE_PERSON = b"mrb-sample-v1"


def sha256_bytes(data: bytes) -> str:
    """The SHA-256 of `data`, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, 64 hex digits, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: object) -> bytes:
    """`value` as UTF-8 JSON with sorted keys and no white space; NaN and infinities are refused (ValueError)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_json(value: object) -> str:
    """The SHA-256 of the canonical JSON of `value`, 64 hex digits."""
    return sha256_bytes(canonical_json(value))


def sha256_lines(lines: Iterable[bytes]) -> str:
    """The SHA-256 over `lines`, each ended by a newline: a digest of a table that is never held whole."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
        digest.update(b"\n")
    return digest.hexdigest()


def tie_hash(task_id: str, query_id: str, doc_id: str) -> int:
    """The tie-breaking key of a pair, an unsigned 64-bit integer: among equal scores the smaller key comes first.

    BLAKE2b (8-byte digest, big-endian, `person` = "mrb-tie-v1") over the three ids in UTF-8, each preceded by its
    length in bytes as 4 big-endian bytes, so that no two triples are written alike. It knows neither relevance nor
    first-stage order nor file order. A pointwise adapter is given its candidates in this order too.
    """
    return tie_hashes(task_id, query_id, (doc_id,))[0]


def tie_hashes(task_id: str, query_id: str, doc_ids: Iterable[str]) -> list[int]:
    """`tie_hash` of each document of one query; task and query are hashed once for all of them."""
    shared = _fed(hashlib.blake2b(digest_size=8, person=_TIE_PERSON), task_id, query_id)
    return [int.from_bytes(_fed(shared.copy(), doc_id).digest(), "big") for doc_id in doc_ids]


def sample_hash(task_id: str, query_id: str) -> int:
    """The sampling key of a query, an unsigned 64-bit integer: `mrb-lite` takes the queries with the smallest keys.

    As `tie_hash`, with `person` = "mrb-sample-v1" over (task id, query id).
    """
    digest = _fed(hashlib.blake2b(digest_size=8, person=_SAMPLE_PERSON), task_id, query_id)
    return int.from_bytes(digest.digest(), "big")


def _fed(digest: hashlib.blake2b, *parts: str) -> hashlib.blake2b:
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return digest

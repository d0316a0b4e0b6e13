"""The two fixed orders. A failure here means that ranks and samples of every published result have changed."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrb._util.hashing import compute_sample_hash, compute_tie_hash

# Computed outside MRB from the definition in docs/design/hashes.md, which lists the first three of each.
TIE_VECTORS = [
    (("nfcorpus", "PLAIN-2", "MED-10"), 0x0532492B549B12A3),
    (("nfcorpus", "PLAIN-2", "MED-14"), 0x498609EABBB1185B),
    (("mini-cards", "frage 7", "größe/图"), 0x3A44CBC305F433C7),
    (("webqa-t2it", "d5bb", "1:2"), 0x771CD3714AE3D96B),
    (("cqadupstack", "android/51829", "android/71"), 0x7D413B7188D98C1E),
    (("", "", ""), 0xE80F3475BB5085D3),
]
SAMPLE_VECTORS = [
    (("nfcorpus", "PLAIN-2"), 0x8744AB0C4CDDC787),
    (("nfcorpus", "PLAIN-12"), 0x9C2F7570CF27D847),
    (("mini-cards", "größe/图"), 0xA538FF8767942C8B),
    (("cqadupstack", "android/51829"), 0x82748D1CFD2AE8E7),
    (("", ""), 0x4DABCD376355A0D6),
]
IDS = st.text(max_size=12, alphabet=st.characters(exclude_categories=["Cs"]))


def described(person, *parts):
    """The definition in docs/design/hashes.md, as one byte string."""
    message = b"".join(len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts)
    return int(hashlib.blake2b(message, digest_size=8, person=person).hexdigest(), 16)


@pytest.mark.parametrize(("ids", "key"), TIE_VECTORS)
def test_tie_hash_keeps_its_vectors(ids, key):
    assert compute_tie_hash(*ids) == key


@pytest.mark.parametrize(("ids", "key"), SAMPLE_VECTORS)
def test_sample_hash_keeps_its_vectors(ids, key):
    assert compute_sample_hash(*ids) == key


@given(IDS, IDS, IDS)
def test_both_hashes_are_what_the_documentation_says(task, query, doc):
    assert compute_tie_hash(task, query, doc) == described(b"mrb-tie-v1", task, query, doc)
    assert compute_sample_hash(task, query) == described(b"mrb-sample-v1", task, query)


def test_no_two_triples_are_written_alike():
    assert (
        len({compute_tie_hash("a", "bc", "d"), compute_tie_hash("ab", "c", "d"), compute_tie_hash("a", "b", "cd")}) == 3
    )


def test_keys_are_spread_over_64_bits():
    keys = [compute_tie_hash("t", "q", str(i)) for i in range(2000)]
    assert len(set(keys)) == 2000
    assert all(0 <= key < 2**64 for key in keys)
    # Each bit is a fair coin over 2,000 keys: 1000 +- 22; six of those leave one failure in 10^7 choices of vectors.
    assert all(abs(sum(key >> bit & 1 for key in keys) - 1000) < 134 for bit in range(64))

"""First stages: the `Retriever` contract, the order of a list, exact vector search, fusion, and candidate lists."""

from mrb.retrieval.dense import Dense
from mrb.retrieval.first_stage import load_first_stage, make_candidates
from mrb.retrieval.fusion import Fusion
from mrb.retrieval.retriever import Encoder, Found, Retriever
from mrb.retrieval.top_k import best_first
from mrb.retrieval.vectors import nearest

__all__ = [
    "Dense",
    "Encoder",
    "Found",
    "Fusion",
    "Retriever",
    "best_first",
    "load_first_stage",
    "make_candidates",
    "nearest",
]

"""First stages: the `Retriever` contract, exact vector search, fusion, and the making of candidate lists."""

from mrb.candidates.self_matches import RankedList
from mrb.candidates.top_k import select_top_k
from mrb.retrieval.dense import Dense
from mrb.retrieval.exact_search import search_exact
from mrb.retrieval.first_stage import load_first_stage, make_candidates
from mrb.retrieval.fusion import Fusion
from mrb.retrieval.retriever import Encoder, Retriever

__all__ = [
    "Dense",
    "Encoder",
    "Fusion",
    "RankedList",
    "Retriever",
    "load_first_stage",
    "make_candidates",
    "search_exact",
    "select_top_k",
]

"""MRB: a benchmark for multimodal rerankers."""

__version__ = "0.2.0"

"""MRB: a benchmark for multimodal rerankers."""

"""Evaluation of a reranker on tasks: plan, score, journal, rank, measure, write."""

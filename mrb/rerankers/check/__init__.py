"""`mrb check`: does a reranker hold what it declares, and how large is its noise?"""

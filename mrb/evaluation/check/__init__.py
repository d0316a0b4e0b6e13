"""`mrb check`: test whether a reranker behaves as it declares, and measure its noise."""

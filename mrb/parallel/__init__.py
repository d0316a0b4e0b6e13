"""Run a plan on several processes of one machine, with one instance of the reranker in each, or on a Ray cluster."""

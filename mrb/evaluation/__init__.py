"""From a task, a candidate list and a reranker to a result: plan, score, journal, rank, measure."""

"""The plan of a run on several processes of one machine, one instance of the reranker in each."""

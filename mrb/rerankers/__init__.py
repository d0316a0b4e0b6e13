"""The reranker contract, plug-ins and their check."""

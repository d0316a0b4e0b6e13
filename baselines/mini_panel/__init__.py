"""mini-panel: a small reranker of several learnt parts. Its weights, its training and its card are in this folder."""

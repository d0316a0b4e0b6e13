"""Training of yes/no rerankers. Needs the extra `train`; no other part of MRB imports this package."""

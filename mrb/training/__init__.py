"""Training of yes/no rerankers. Needs the extra `train`; nothing else in MRB imports it."""

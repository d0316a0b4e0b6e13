"""Training data: groups on disk, built from tasks, checked against test data, sampled. Needs no torch."""

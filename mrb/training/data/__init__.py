"""Training data: groups on disk, built from tasks, held against test data, sampled. Needs no torch."""

"""Run a plan on a Ray cluster, whose workers may join or be lost during the run."""

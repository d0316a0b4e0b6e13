"""What a run takes on a cluster: a closed form, and a simulation that hands out queries as the executors do."""

"""Score or encode in several worker processes, on one machine or on a Ray cluster."""

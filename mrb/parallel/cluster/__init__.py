"""The same plan on a Ray cluster, whose workers may be lost and may join while it goes on."""

"""Measures, the ranking rule, aggregation and statistics."""

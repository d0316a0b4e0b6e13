"""Candidate lists of first stages: reading, writing, importing, and named candidate sets."""

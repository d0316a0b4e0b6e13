"""Candidate lists of first stages."""

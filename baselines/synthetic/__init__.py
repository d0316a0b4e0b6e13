"""Generators of synthetic training data."""

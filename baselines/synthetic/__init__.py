"""Makers of synthetic training data."""

"""Utilities of the adapters."""

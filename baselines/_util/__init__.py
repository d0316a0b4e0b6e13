"""Helpers of the adapters."""

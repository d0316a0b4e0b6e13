"""Helpers without a room of their own: files, hashing, formatting, Parquet limits."""

"""Shared helpers: files, hashing, formatting, redaction, limits for Parquet files."""

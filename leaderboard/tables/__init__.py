"""Rows and tables of the board."""

"""Rows and tables of the leaderboard."""

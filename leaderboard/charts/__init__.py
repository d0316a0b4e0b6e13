"""Charts of the leaderboard."""

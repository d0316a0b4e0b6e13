"""The leaderboard: static pages from runs. Imports `mrb`, never the other way; only `mrb leaderboard` uses it."""

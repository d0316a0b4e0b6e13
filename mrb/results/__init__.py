"""Result files, runs, comparison, recomputation and export."""

"""Result files, runs, comparison and export."""

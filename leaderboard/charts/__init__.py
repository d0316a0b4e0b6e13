"""Charts of the board."""

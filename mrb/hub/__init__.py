"""Candidate lists on the Hub: pushed, and pulled at a commit."""

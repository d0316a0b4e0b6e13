"""Submissions: prepare a run for publication, check it as a stranger's, and score part of it again as a validator."""

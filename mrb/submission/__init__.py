"""Submissions: a run made ready to be published, checked by strangers, and scored again by a validator."""

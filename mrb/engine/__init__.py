"""Scoring with transformers models: a prompt layout, a model and two rows of its head.

`mrb.engine.yes_no.YesNo` is what an adapter is made of; `layout` and `prompt` need no torch, the rest does.
"""

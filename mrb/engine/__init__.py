"""Scoring with transformers models: a prompt template, a backbone and one or two rows of its language model head.

Pointwise adapters derive from `mrb.engine.yes_no.YesNo`. `prompt_template` and `prompt` work without torch.
"""

"""Rerankers and first stages that ship with MRB as reference adapters, one file each.

They import `mrb`; nothing in `mrb` imports them. They are found through entry points, as any package's adapters are.
"""

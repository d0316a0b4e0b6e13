"""Rerankers and first stages that ship with MRB as reference adapters, one file each.

They import `mrb`; nothing in `mrb` imports them. Like any package's adapters they are found through entry points.
"""

"""The contract of rerankers, the loading of adapters, and `mrb check`."""

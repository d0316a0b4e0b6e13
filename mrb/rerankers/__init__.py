"""The contract of rerankers, and the loading of adapters."""

"""A small language model with a Titans memory as context (arXiv:2501.00663, Memory as Context; NUMERICS.md)."""

"""The Titans memory: pure functions over stacked state tensors."""

"""Durability: the log and the snapshots."""

"""Schedules, runs and serves the work of many tenants on one device."""

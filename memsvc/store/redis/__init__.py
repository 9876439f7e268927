"""The store for production: Redis, shared by several processes."""

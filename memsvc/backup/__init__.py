"""Backups of a whole deployment: a directory of checked files, one for each tenant, made and read through the API."""

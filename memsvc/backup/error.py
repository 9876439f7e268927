"""What is wrong with a directory of backups, or with a file in it."""


class BackupError(Exception):
    """The message says which one, and what."""

"""Backups: one file that has everything of a server's folder, and the way back."""

UNFINISHED = "unfinished-restore"
"""While a file of this name is in a folder, its databases may be of two origins."""

"""Recordings: what the storage service answers, as HTTP."""

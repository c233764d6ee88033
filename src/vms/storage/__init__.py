"""The storage service: everything about recordings after their bytes are on disk."""

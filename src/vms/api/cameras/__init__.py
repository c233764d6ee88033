"""Cameras: configuration and live state."""

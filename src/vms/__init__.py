"""VMS Enterprise: connects IP cameras, records them without losing a frame, and plays them back."""

__version__ = "0.1.0"

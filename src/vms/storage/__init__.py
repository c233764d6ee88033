"""The storage service: catalogue, retention, playback, export."""

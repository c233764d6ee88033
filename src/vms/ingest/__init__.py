"""The ingest service: camera sessions, frame ring, recorder."""

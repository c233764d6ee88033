"""The catalogue database: engine, models and migrations. Never imported by ingest: its path to disk has none."""

"""The catalogue database: engine, models and migrations. Never imported by ingest, whose path to disk has no database."""

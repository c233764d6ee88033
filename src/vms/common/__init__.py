"""Types, settings, errors, clock and supervision that every layer may use. Standard library and pydantic only."""

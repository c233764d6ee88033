"""The API service: cameras and recordings over REST."""

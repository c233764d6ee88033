"""The API service: the only writer of cameras, the way to recordings, and a plain page for the browser."""

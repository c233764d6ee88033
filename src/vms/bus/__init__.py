"""NATS: client, embedded server, streams, buckets, leases."""

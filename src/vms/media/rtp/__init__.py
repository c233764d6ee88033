"""RTP (RFC 3550) payload formats for H.264 (RFC 6184) and H.265 (RFC 7798)."""

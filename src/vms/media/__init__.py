"""Media: RTSP and RTP, bitstream parsing, codecs."""

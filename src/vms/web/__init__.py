"""What every HTTP service shares: problem replies, access rules, byte ranges, streaming, the server itself."""

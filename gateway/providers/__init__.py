"""What differs between the dialects upstreams speak."""

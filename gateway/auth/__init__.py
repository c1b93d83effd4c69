"""Virtual keys: who owns what."""

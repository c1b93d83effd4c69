"""The typed settings and their loading."""

"""Tests drive a gateway that runs as a process of its own, with the fakes at the wire."""

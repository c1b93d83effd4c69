"""Forwarding: from a downstream request to an upstream's answer and the exchange that records both."""

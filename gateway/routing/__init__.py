"""Which target a request goes to: pure decisions over plain data."""

"""feedback-gateway: an OpenAI-compatible gateway that remembers what people thought of every answer."""

__version__ = "0.1.0"

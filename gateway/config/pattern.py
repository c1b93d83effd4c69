"""Regular expressions whose cost grows with the text and not with its guesses, whoever wrote them.

Python's `re` tries every way to match and can take years over `(a+)+$`; the engine behind jsonschema-rs
(Rust's `regex`) takes time in proportion to the text, at the price of look-around and back-references.
"""

from __future__ import annotations

from collections.abc import Callable

MAX_PATTERN_CHARS = 1_000
MAX_TEXT_CHARS = 10_000
"""Of a longer text only the start is looked at."""

_ENGINE_BYTES = 256 * 1024


def matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a text has the pattern anywhere in it. Raises ValueError, in words, for what cannot be used."""
    # Here, not above: it takes 8 MB, and without a $regex nobody needs it.
    from jsonschema_rs import RegexOptions, ValidationError, validator_for  # noqa: PLC0415

    if len(pattern) > MAX_PATTERN_CHARS:
        raise ValueError(f"a pattern has at most {MAX_PATTERN_CHARS} characters; shorten it")
    engine = RegexOptions(size_limit=_ENGINE_BYTES, dfa_size_limit=_ENGINE_BYTES)
    try:
        found = validator_for({"pattern": pattern}, pattern_options=engine, offline=True).is_valid
    except (ValidationError, ValueError) as error:
        raise ValueError(
            "is no pattern that can be used; write a regular expression without look-around, "
            "back-references and long repetitions"
        ) from error
    return lambda text: found(text[:MAX_TEXT_CHARS].encode("utf-8", "replace").decode())

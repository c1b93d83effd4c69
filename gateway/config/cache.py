"""The settings of the answer cache as a whole; which requests use it is in `gateway.config.routes`."""

from __future__ import annotations

from pydantic import Field

from gateway.config.section import MIB, HeaderName, Seconds, Section


class Cache(Section):
    """Answers kept for repeated requests. Off until a route or a request asks for it."""

    by_header: bool = Field(
        default=True,
        description="Whether a request may ask for the cache itself (`x-portkey-cache: simple`). With "
        "`capture.bodies` other than `all` it may not: what is not to be kept is not kept here either.",
    )
    max_bytes: int = Field(
        default=256 * MIB,
        ge=0,
        description="Room for all answers together; beyond it those unused for longest go. 0 keeps none.",
    )
    max_entry_bytes: int = Field(
        default=MIB, ge=0, le=64 * MIB, description="Longest answer that is kept, as the upstream sent it."
    )
    queue_max_bytes: int = Field(
        default=16 * MIB, ge=MIB, description="Answers that may wait for the store; others are not kept."
    )
    lookup_timeout_s: Seconds = Field(
        default=1.0, description="How long the store may take to find an answer before the upstream is asked."
    )
    key_headers: tuple[HeaderName, ...] = Field(
        default=(
            "accept", "openai-beta", "openai-organization", "openai-project", "anthropic-version",
            "anthropic-beta",
        ),
        description="Request headers that, besides path and body, tell two requests apart.",
    )  # fmt: skip

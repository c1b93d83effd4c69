"""The shapes that cross package borders: immutable, named with the words of the design.

The write half and the read half meet here. No behaviour beyond what a shape says about itself.
"""

from gateway.records.exchange import (
    DEFAULT_KEY_ID,
    NO_PAYLOAD,
    BodyRow,
    Exchange,
    ExchangeEntry,
    ExchangeRow,
    Headers,
    Payload,
    Sink,
    SpecialKeys,
)
from gateway.records.feedback import (
    Feedback,
    FeedbackChange,
    FeedbackDraft,
    FeedbackSummary,
    IdempotencyKey,
    Pair,
)
from gateway.records.lists import (
    FeedbackFilter,
    Item,
    Log,
    LogDetail,
    LogFilter,
    MetadataFilter,
    Page,
    TraceDetail,
    TraceFilter,
    TraceSummary,
)

__all__ = [
    "DEFAULT_KEY_ID",
    "NO_PAYLOAD",
    "BodyRow",
    "Exchange",
    "ExchangeEntry",
    "ExchangeRow",
    "Feedback",
    "FeedbackChange",
    "FeedbackDraft",
    "FeedbackFilter",
    "FeedbackSummary",
    "Headers",
    "IdempotencyKey",
    "Item",
    "Log",
    "LogDetail",
    "LogFilter",
    "MetadataFilter",
    "Page",
    "Pair",
    "Payload",
    "Sink",
    "SpecialKeys",
    "TraceDetail",
    "TraceFilter",
    "TraceSummary",
]

"""Feedback as the lines of a file: JSON as the API shows it, or the columns of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.exports.lines import csv_line

COLUMNS: Final = (
    "id", "created_at", "updated_at", "retracted_at", "trace_id", "request_id", "targets", "name", "kind",
    "signal", "value", "weight", "comment", "correction", "source_type", "source_id", "task_id",
    "task_version", "overrides", "valid", "matched", "user", "organisation", "prompt", "environment",
    "metadata",
)  # fmt: skip
"""The id comes first, so that the last line of a cut file says where to go on."""


def header() -> bytes:
    return csv_line(COLUMNS)


def csv_row(feedback: Mapping[str, Any]) -> bytes:
    """A piece of feedback as the API shows it. `trace_id` and `request_id` are the first target's."""
    targets = feedback.get("targets") or [{}]
    source, task = feedback.get("source") or {}, feedback.get("task") or {}
    metadata = feedback.get("metadata") or {}
    derived = {
        "request_id": targets[0].get("request_id"),
        "source_type": source.get("type"),
        "source_id": source.get("id"),
        "task_id": task.get("id"),
        "task_version": task.get("version"),
        **{name: metadata.get(f"_{name}") for name in ("user", "organisation", "prompt", "environment")},
    }
    return csv_line(derived.get(name, feedback.get(name)) for name in COLUMNS)

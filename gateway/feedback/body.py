"""Native feedback bodies: bytes in, checked drafts out, or the error with its code.

They are a superset of Portkey's, whose four fields (trace_id, value, weight, metadata) keep every rule of
docs/wire/portkey.md. What else there is: other targets, names, kinds of value, comments, corrections,
sources, tasks and overriding. Nothing is stored and nothing is answered here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.errors import ClientError, InvalidFeedback
from gateway.feedback.item import (
    BAD_FIELD,
    BAD_VALUE,
    MALFORMED,
    MAX_VALUE_BYTES,
    MISSING,
    NEEDED,
    TOO_MANY_FOR_UPDATE,
    Item,
    error_of,
    json_type,
)
from gateway.feedback.signals import signal_of
from gateway.jsonio import dumps, loads
from gateway.records import (
    DEFAULT_NAME,
    DEFAULT_WEIGHT,
    MAX_SCORE,
    MIN_SCORE,
    SIGNALS,
    SOURCE_TYPES,
    UNSET,
    Feedback,
    FeedbackChange,
    FeedbackDraft,
    Kind,
    SelectedTargets,
    Selector,
    Signal,
    SourceType,
    TargetId,
    kind_of,
)

MAX_ITEMS = 1_000
MAX_SOURCE_CHARS = 250
MAX_TAGS = 50
MAX_TAG_CHARS = 256
MAX_METADATA_PAIRS = 10
MAX_MATCHED = 1_000
DEFAULT_MATCHED = 100

TARGETS_OF_OURS = ("request_id", "tags", "selector")
"""Ways to say what feedback is about that Portkey has not."""

_CHANGEABLE = ("name", "kind", "signal", "comment", "correction", "expected", "source_id")
_NEEDED_FOR_CHANGE = "value, or what else is to be changed"


def parse_create(body: bytes) -> list[FeedbackDraft]:
    """The drafts of a POST body, in its order: one object, an array, or Node's object with numeric keys.

    Raises InvalidFeedback for the first thing wrong.
    """
    return [_draft(item) for item in items_of(body)]


def parse_update(body: bytes) -> tuple[FeedbackChange, str | None]:
    """What a PUT body changes, and the `feedback_id` that Node sends in it, if it is a string.

    Raises InvalidFeedback.
    """
    items = items_of(body, needed=_NEEDED_FOR_CHANGE)
    if len(items) > 1:
        raise error_of(
            TOO_MANY_FOR_UPDATE,
            f"an update changes one item, this body has {len(items)}; send one PUT for each",
        )
    item = items[0]
    feedback_id = item.fields.get("feedback_id")
    return _change(item), feedback_id if isinstance(feedback_id, str) else None


def fits(change: FeedbackChange) -> Callable[[Feedback], None]:
    """A check that `change` leaves sense behind: a score stays one, and something is said.

    Raises InvalidFeedback.
    """

    def check(stored: Feedback) -> None:
        value = change.value
        if stored.kind == "score" and change.kind is UNSET and kind_of(value) == "number":
            whole = value == int(value)
            if not whole or not MIN_SCORE <= value <= MAX_SCORE:
                raise error_of(
                    BAD_VALUE, f"value must be an integer from {MIN_SCORE} to {MAX_SCORE}", "value"
                )
        left = [
            old if new is UNSET else new
            for old, new in (
                (stored.value, change.value),
                (stored.comment, change.comment),
                (stored.correction, change.correction),
            )
        ]
        if None in (change.value, change.comment, change.correction) and left == [None, None, None]:
            raise error_of(MISSING, "nothing is left; give a value, a comment or a correction", "value")

    return check


def refused(error: ClientError, body: bytes | None = None) -> InvalidFeedback:
    """The error that storing a body ended in, as one of the body: with the place of its item, and a code."""
    item = None if body is None or error.item is None else items_of(body)[error.item]
    if item is None:
        return error_of(BAD_FIELD, error.message, error.param)
    is_tagged = error.param == "selector" and not item.has("selector")
    return item.error(BAD_FIELD, error.message, "tags" if is_tagged else error.param)


def items_of(body: bytes, *, needed: str = NEEDED) -> list[Item]:
    """The items of a body, one or many; `needed` is what each must have. Raises InvalidFeedback."""
    parsed = _parsed(body)
    if isinstance(parsed, list):
        members = [(str(index), content) for index, content in enumerate(parsed)]
    elif isinstance(parsed, dict):
        if not all(is_index(key) for key in parsed):
            return [Item(parsed, None, needed)]
        members = sorted(parsed.items(), key=lambda member: as_index(member[0]))
    else:
        raise error_of(MALFORMED, f"must be an object or an array, not {json_type(parsed)}")
    if not members:
        raise error_of(MISSING, f"it is empty; send an object with {needed}")
    if len(members) > MAX_ITEMS:
        raise error_of(
            MALFORMED, f"{len(members)} items, the limit is {MAX_ITEMS}; split them over several requests"
        )
    return [Item(content, index, needed) for index, content in members]


def is_index(key: str) -> bool:
    return key.isascii() and key.isdigit()


def as_index(key: str) -> tuple[int, str]:
    """Sorts as the number does, without turning thousands of digits into one."""
    digits = key.lstrip("0")
    return len(digits), digits


def _parsed(body: bytes) -> Any:
    if not body.strip():
        raise error_of(MALFORMED, "it is empty; send a JSON object or an array of them")
    try:
        return loads(body)
    except ValueError as error:
        raise error_of(MALFORMED, f"not JSON ({error})") from error


def _draft(item: Item) -> FeedbackDraft:
    limit = item.whole_number("max_matched", default=DEFAULT_MATCHED, highest=MAX_MATCHED)
    targets = _targets(item, limit=limit, allow_unmatched=item.flag("allow_unmatched"))
    comment, correction = _comment(item), _correction(item)
    name = item.name()
    task_id = item.text("task_id", max_chars=MAX_SOURCE_CHARS)
    kind = _kind(item, is_named=name is not None or task_id is not None, is_said=comment or correction)
    value = item.value(kind)
    if kind == "none" and comment is None and correction is None:
        raise item.error(MISSING, "value is required, or a comment or a correction", "value")
    weight, metadata = item.weight(), item.metadata()
    name = DEFAULT_NAME if name is None else name
    signal: Signal | None = item.choice("signal", SIGNALS)
    source_type: SourceType | None = item.choice("source_type", SOURCE_TYPES)
    return FeedbackDraft(
        targets=targets,
        name=name,
        kind=kind,
        signal=signal or signal_of(name, kind, value),
        value=value,
        weight=DEFAULT_WEIGHT if weight is None else weight,
        comment=comment,
        correction=correction,
        source_type=source_type or "API",
        source_id=item.text("source_id", max_chars=MAX_SOURCE_CHARS) or _user(metadata),
        task_id=task_id,
        metadata=metadata,
        overrides=item.text("overrides", max_chars=MAX_SOURCE_CHARS),
    )


def _targets(item: Item, *, limit: int, allow_unmatched: bool) -> tuple[TargetId, ...] | SelectedTargets:
    given = ["trace_id"] if item.has_trace_id() else []
    given += ["request_id"] if item.has("request_id") else []
    given += [name for name in ("tags", "selector") if item.has(name)][:1]
    if len(given) > 1:
        raise item.bad(given[1], f"and {given[0]} are both given; feedback has one kind of target")
    if given in (["tags"], ["selector"]):
        return SelectedTargets(_selector(item), limit=limit, allow_unmatched=allow_unmatched)
    if given == ["request_id"]:
        return (TargetId(item.request_id(), first="exchange"),)
    return (TargetId(item.trace_id()),)


def _selector(item: Item) -> Selector:
    selector = item.fields.get("selector")
    if selector is not None and not isinstance(selector, dict):
        raise item.bad("selector", f"must be an object, not {json_type(selector)}")
    selector = selector or {}
    for name in selector:
        if name not in ("tags", "metadata"):
            raise item.bad(f"selector.{name}", "is unknown; a selector has tags and metadata")
    tags = (
        *item.strings("tags", item.fields.get("tags"), max_items=MAX_TAGS, max_chars=MAX_TAG_CHARS),
        *item.strings("selector.tags", selector.get("tags"), max_items=MAX_TAGS, max_chars=MAX_TAG_CHARS),
    )
    metadata = _pairs(item, selector.get("metadata"))
    if not tags and not metadata:
        place = "selector" if item.has("selector") else "tags"
        raise item.bad(place, "names nothing; give at least one tag or one piece of metadata")
    return Selector(tags=tuple(dict.fromkeys(tags)), metadata=metadata)


def _pairs(item: Item, given: Any) -> tuple[tuple[str, str], ...]:
    """Metadata compares as text: a string as it is, a number, boolean or null as its JSON."""
    if given is None:
        return ()
    place = "selector.metadata"
    if not isinstance(given, dict):
        raise item.bad(place, f"must be an object, not {json_type(given)}")
    if len(given) > MAX_METADATA_PAIRS:
        raise item.bad(place, f"has {len(given)} members, the limit is {MAX_METADATA_PAIRS}")
    for name, value in given.items():
        if isinstance(value, dict | list):
            raise item.bad(
                f"{place}.{name}", f"must be a text, a number or a boolean, not {json_type(value)}"
            )
    return tuple(
        (name, value if isinstance(value, str) else dumps(value).decode()) for name, value in given.items()
    )


def _kind(item: Item, *, is_named: bool, is_said: Any) -> Kind:
    """The kind that is given; else a score, unless a name or a task says that it is something else."""
    kind = item.kind()
    if kind is not None:
        return kind
    if not item.has_value() and is_said is not None:
        return "none"
    return kind_of(item.fields.get("value")) if is_named and item.has_value() else "score"


def _comment(item: Item) -> str | None:
    return item.text("comment", max_chars=MAX_VALUE_BYTES)


def _correction(item: Item) -> Any:
    if item.has("correction") and item.has("expected"):
        raise item.bad("expected", "and correction are both given; they are two names for one field")
    return item.json("correction" if item.has("correction") else "expected")


def _user(metadata: dict[str, Any] | None) -> str | None:
    user = (metadata or {}).get("_user")
    return user if user and isinstance(user, str) else None


def _change(item: Item) -> FeedbackChange:
    if any(name in item.fields for name in _CHANGEABLE):
        fields = _change_of_ours(item)
    else:
        fields = {"value": item.score()}
    if (weight := item.weight()) is not None:
        fields["weight"] = weight
    if (metadata := item.metadata()) is not None:
        fields["metadata"] = metadata
    return FeedbackChange(**fields)


def _change_of_ours(item: Item) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    kind = item.kind()
    if kind is not None:
        fields = {"kind": kind, "value": item.value(kind)}
    elif item.has_value():
        fields = _value_by_its_type(item)
    if "correction" in item.fields or "expected" in item.fields:
        fields["correction"] = _correction(item)
    if "comment" in item.fields:
        fields["comment"] = _comment(item)
    if "source_id" in item.fields:
        fields["source_id"] = item.text("source_id", max_chars=MAX_SOURCE_CHARS)
    if (name := item.name()) is not None:
        fields["name"] = name
    if (signal := item.choice("signal", SIGNALS)) is not None:
        fields["signal"] = signal
    return fields


def _value_by_its_type(item: Item) -> dict[str, Any]:
    """A number stays the kind of number it was, a score or not, so it brings no kind."""
    kind = kind_of(item.fields["value"])
    value = item.value(kind)
    return {"value": value} if kind == "number" else {"value": value, "kind": kind}

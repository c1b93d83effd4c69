"""The JSON Schemas of feedback tasks: which are taken, and whether an answer fits the one of its task.

Schemas come from clients, so nothing they say may reach the network or a file, match a pattern in exponential
time, or make a small value expensive. What that leaves out is refused when the schema is stored, not when an
answer comes.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from gateway.errors import InvalidField
from gateway.records import FeedbackTask

if TYPE_CHECKING:
    from gateway.feedback.form import Form

MAX_CACHED = 64


class UnfitValue(InvalidField):
    """A value that does not fit its task's schema.

    `problems` has a sentence for each thing wrong, at most ten, each after the JSON Pointer to it.
    """

    def __init__(self, task: FeedbackTask, problems: tuple[str, ...]) -> None:
        super().__init__(
            f"value: does not fit the schema of feedback task {task.name!r} "
            f"(version {task.version}): {'; '.join(problems)}",
            param="value",
        )
        self.problems = problems


def check_schema(schema: Any) -> None:
    """Raises BadSchema, which names the place in the schema and what is wrong there."""
    form_of(schema)


def form_of(schema: Any) -> Form:
    """Raises BadSchema."""
    from gateway.feedback.form import Form  # noqa: PLC0415 - memory only for who has tasks

    return Form.of(schema)


class Schemas:
    """The schemas of tasks, ready to check values; the `size` last used are kept."""

    def __init__(self, size: int = MAX_CACHED) -> None:
        self._size = size
        self._kept: OrderedDict[tuple[str, int], Form] = OrderedDict()

    def check_value(self, task: FeedbackTask, value: Any) -> None:
        """Raises UnfitValue for a JSON value that does not fit the task's schema."""
        problems = tuple(self._form(task).problems(value))
        if problems:
            raise UnfitValue(task, problems)

    def _form(self, task: FeedbackTask) -> Form:
        known = (task.id, task.version)
        form = self._kept.pop(known, None) or form_of(task.schema)
        self._kept[known] = form
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return form

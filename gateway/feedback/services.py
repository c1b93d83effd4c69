"""What vendors' files are handed: the services that feedback and its tasks are reached by."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.feedback.service import FeedbackService
from gateway.feedback.tasks import TaskService


@dataclass(slots=True, frozen=True)
class FeedbackServices:
    feedback: FeedbackService
    tasks: TaskService

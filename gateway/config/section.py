"""What every part of the configuration is made of: the base of its sections, and the types of its values.

No setting is born here; those are in the section files beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
HEADER_NAME = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$"
HEADER_VALUE = r"^[\t\x20-\x7e]{0,8192}$"
PARAMETER = r"^[\x21-\x7e]{1,128}$"
SHA256 = r"^[0-9A-Fa-f]{64}$"

PATTERN_MEANINGS = {
    NAME: "1 to 64 letters, digits, dots, hyphens and underscores, beginning with a letter or a digit",
    HEADER_NAME: "an HTTP header name such as x-team, up to 128 characters",
    HEADER_VALUE: "visible ASCII characters on one line, up to 8192",
    PARAMETER: "the name of a query parameter such as api-version, up to 128 visible ASCII characters",
    SHA256: "the 64 hexadecimal digits of a SHA-256",
}
"""What a pattern asks for, in words for the person whose value did not match it."""

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Name = Annotated[str, StringConstraints(pattern=NAME)]
HeaderName = Annotated[str, StringConstraints(pattern=HEADER_NAME, to_lower=True)]
HeaderValue = Annotated[str, StringConstraints(pattern=HEADER_VALUE, strip_whitespace=True)]

MIB = 1024 * 1024


class Section(BaseModel):
    """A part of the configuration. Unknown keys are refused; nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _as_written_in_yaml(cls, data: Any) -> Any:
        """Let a key without a value keep its default, and refuse `yes` where a number belongs."""
        if data is None:
            return {}
        if not isinstance(data, dict):
            return data
        return {
            key: _not_a_number(value) if cls._is_number(key) else value
            for key, value in data.items()
            if value is not None or key not in cls.model_fields
        }

    @classmethod
    def _is_number(cls, key: Any) -> bool:
        return key in cls.model_fields and bare(cls.model_fields[key].annotation) in (int, float)


def _not_a_number(value: Any) -> Any:
    """pydantic reads True as 1; as text it is refused."""
    return str(value).lower() if isinstance(value, bool) else value


def bare(annotation: Any) -> Any:
    """The type itself: without `Annotated`, and without None where a value may be left out."""
    arguments = [argument for argument in get_args(annotation) if argument is not type(None)]
    if get_origin(annotation) is Annotated or (type(None) in get_args(annotation) and len(arguments) == 1):
        return bare(arguments[0])
    return annotation


class Problem(NamedTuple):
    """What is wrong at `path` below the section that is refused.

    In `rule`, which has the remedy in it, `{value}` stands for the value there.
    """

    path: tuple[str | int, ...]
    value: Any
    rule: str


RULE = "rule"
"""pydantic's type of the errors that `refused` makes."""


def refused(problems: Iterable[Problem]) -> ValidationError:
    """The error to raise in a validator for problems that lie deeper than the value it was given."""
    return ValidationError.from_exception_data(
        "settings",
        [
            InitErrorDetails(
                type=PydanticCustomError(
                    RULE, "{words}", {"words": rule.removeprefix("{value} "), "rule": rule}
                ),
                loc=path,
                input=value,
            )
            for path, value, rule in problems
        ],
    )

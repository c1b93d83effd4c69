"""YAML text to plain data, strictly: one mapping, text keys, no key twice. No files are read here.

Messages give line and column but never the text at that place: it may be a secret.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from gateway.config.paths import quoted
from gateway.errors import ConfigError

Document = dict[str, Any]

_QUOTED_WORD = re.compile(r"'(?!\\t')[^'<>]{2,}'")


def parse_document(text: str, source: str) -> Document:
    """The mapping that the YAML `text` holds; empty text is an empty mapping.

    `source` is the file's name for messages. Raises ConfigError.
    """
    unreadable = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if unreadable:
        before = text[: unreadable.start()]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        problem = f"character U+{ord(unreadable.group()):04X} is not allowed in YAML; remove it"
        raise ConfigError([f"{source}:{line}:{column}: {problem}"])
    loader = _StrictLoader(text, source)
    try:
        data = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_sentence(error, source)]) from None
    except ValueError as error:
        # YAML's own types: a date such as 2024-99-99, a number of 5,000 digits.
        raise ConfigError([f"{source}: has a value that is no date or number; put it in quotes"]) from error
    except RecursionError:
        raise ConfigError([f"{source}: is nested too deeply; flatten it"]) from None
    finally:
        loader.dispose()
    if loader.problems:
        raise ConfigError(loader.problems)
    if data is None:
        return {}
    if not isinstance(data, dict):
        remedy = "write settings as `server:` and, indented below it, `port: 8787`"
        raise ConfigError([f"{source}: has {kind_of(data)} at the top; {remedy}"])
    return data


def kind_of(value: Any) -> str:
    """What a value is, in a YAML writer's words: `a list`, `text`, `a number`."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list() | tuple():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return "a date or another YAML type"


class _StrictLoader(yaml.SafeLoader):
    """yaml.SafeLoader that collects what it would let pass: keys given twice, keys that are not text."""

    def __init__(self, text: str, source: str) -> None:
        super().__init__(text)
        self.problems: list[str] = []
        self._source = source

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Composing sees each mapping once and as written; constructing sees `<<` merges already mixed in.
        node = super().compose_mapping_node(anchor)
        seen: dict[str, int] = {}
        for key, _ in node.value:
            self._check_key(key, seen)
        return node

    def _check_key(self, key: yaml.Node, seen: dict[str, int]) -> None:
        place = f"{self._source}:{key.start_mark.line + 1}:{key.start_mark.column + 1}"
        if key.tag == "tag:yaml.org,2002:merge":
            return
        if key.tag == "tag:yaml.org,2002:bool" and key.value == "on":
            key.tag = "tag:yaml.org,2002:str"  # a setting of ours, which YAML 1.1 would read as true
        if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
            shown = f"key {quoted(key.value)}" if isinstance(key, yaml.ScalarNode) else "a key"
            self.problems.append(f"{place}: {shown} is not text in YAML; put it in quotes")
        elif key.value in seen:
            first = seen[key.value]
            self.problems.append(
                f"{place}: key {quoted(key.value)} is there twice, first on line {first}; remove one"
            )
        else:
            seen[key.value] = key.start_mark.line + 1


def _sentence(error: yaml.MarkedYAMLError, source: str) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
    # Longer quotations are the document's own words; tokens such as '<block end>' and ':' are not.
    problem = _QUOTED_WORD.sub("(hidden)", error.problem or "cannot be read")
    remedy = (
        "check the indentation, and quote text that holds `: ` or ` #` or begins with one of * & ! % @ [ {"
    )
    return f"{place}: is not YAML: {problem}; {remedy}"

"""A target's changes to a request's JSON body: another model, parameters put in or taken out.

Only for targets that ask for a change; every other body passes byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway import jsonio


def merged(body: Mapping[str, Any], model: str | None, override_params: Mapping[str, Any]) -> bytes:
    """`body` with the changes, as compact JSON; `model` has the last word on the model.

    Objects are merged member by member, all else is replaced, and null removes what stands there. Source:
    RFC 7396, JSON Merge Patch. Raises ValueError for what is nested too deeply to be written again.
    """
    changed = _patched(body, override_params)
    if model is not None:
        changed["model"] = model
    try:
        return jsonio.dumps(changed)
    except TypeError:  # orjson writes 254 levels and integers of 64 bits, and more than that can be read
        pass
    try:
        return jsonio.dumps_exact(changed)
    except RecursionError:
        raise ValueError("nested too deeply to be changed") from None


def merged_params(above: Mapping[str, Any], here: Mapping[str, Any]) -> Mapping[str, Any]:
    """Two levels' `override_params` as one: objects are merged, else the lower one has the word.

    A null stays, to remove what the body has.
    """
    combined = dict(above)
    for name, change in here.items():
        known = combined.get(name)
        if isinstance(known, Mapping) and isinstance(change, Mapping):
            combined[name] = merged_params(known, change)
        else:
            combined[name] = change
    return combined


def _patched(value: Any, patch: Mapping[str, Any]) -> dict[str, Any]:
    patched = dict(value) if isinstance(value, Mapping) else {}
    for name, change in patch.items():
        if change is None:
            patched.pop(name, None)
        elif isinstance(change, Mapping):
            patched[name] = _patched(patched.get(name), change)
        else:
            patched[name] = change
    return patched

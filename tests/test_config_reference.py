"""The configuration reference: complete, generated, and current in README.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config import reference
from gateway.config.outline import inner_section, section_at, sections
from gateway.config.routes import Condition, Retry, Route
from gateway.config.schema import Section, Settings, Upstream

README = Path(__file__).parent.parent / "README.md"


def every_section(
    section: type[Section], known: frozenset[type[Section]] = frozenset()
) -> set[type[Section]]:
    found = {section, *known}
    for field in section.model_fields.values():
        inner = inner_section(field.annotation)
        if inner is not None and inner not in found:
            found |= every_section(inner, frozenset(found))
    return found


def test_readme_holds_the_current_reference() -> None:
    page = README.read_text(encoding="utf-8")
    assert reference.with_reference(page) == page, "run: python -m gateway.config.reference --write README.md"


@pytest.mark.parametrize("section", sorted(every_section(Settings), key=lambda section: section.__name__))
def test_every_setting_has_help(section: type[Section]) -> None:
    for name, field in section.model_fields.items():
        assert field.description, f"{section.__name__}.{name} needs a description"
        assert field.description.endswith("."), f"{section.__name__}.{name}: a description is a sentence"


def rows_of(path: str) -> str:
    return reference.reference().partition(f"### `{path}`\n")[2].partition("\n### ")[0]


def test_every_setting_has_its_row() -> None:
    places = {place.section: place for place in sections()}
    for place in places.values():
        for name in place.section.model_fields:
            is_inherited = place.base is not None and name in place.base.model_fields
            home = places[place.base] if is_inherited and place.base else place
            assert f"\n| `{name}" in rows_of(home.path), f"{place.path}.{name}"


def test_sections_within_themselves_are_there_once_and_named_by_their_first_place() -> None:
    assert [place.path for place in sections()][-2:] == [
        "routes[].targets[]", "routes[].targets[].strategy.conditions[]",
    ]  # fmt: skip
    rows = rows_of("routes[].targets[]")
    assert "| `targets` | list of targets | `[]` | " in rows
    assert "| `strategy.by_feedback.half_life_s` | number " in rows
    assert "| `retry.on` | list of statuses, `connection`, `timeout` | `429`, `500`, " in rows
    assert "| `connect_timeout_s` | number above 0 up to 86400 | none | " in rows
    assert "`strategy.targets" not in rows


def test_a_route_has_its_own_keys_first_and_names_where_the_others_are() -> None:
    rows = rows_of("routes[]")
    assert rows.index("| `models` | list of text | required |") < rows.index("| `deadline_s` |")
    assert "| `target` | target | none |" in rows
    assert "| `upstream` |" not in rows
    assert "those of [`routes[].targets[]`](#routestargets)." in rows


def test_a_row_gives_type_limits_default_and_meaning() -> None:
    rows = reference.reference().splitlines()
    assert (
        "| `port` | whole number from 0 up to 65535 | `8787` | Port to listen on; 0 picks a free one. |"
        in rows
    )
    assert any(row.startswith("| `api_key` | secret text | none | ") for row in rows)
    assert any(row.startswith("| `base_url` | text | required | ") for row in rows)
    assert any(row.startswith("| `on_disconnect` | `cancel`, `drain` | `cancel` | ") for row in rows)
    assert any(
        row.startswith("| `max_body_bytes` | whole number ") and "`1048576` (1 MiB)" in row for row in rows
    )


def test_rows_have_four_cells() -> None:
    for row in reference.reference().splitlines():
        if row.startswith("|"):
            assert row.replace("\\|", "").count("|") == 5, row


def test_sections_are_found_by_path() -> None:
    assert section_at(()) is Settings
    assert section_at(("upstreams", "any")) is Upstream
    assert section_at(("routes", 0)) is Route
    assert section_at(("routes", 0, "targets", 1, "targets", 2, "retry")) is Retry
    assert section_at(("configs", "x", "strategy", "conditions", 0)) is Condition
    assert section_at(("upstreams",)) is None
    assert section_at(("server", "port")) is None
    assert section_at(("nope", "x")) is None


def test_writing_keeps_the_rest_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"# Before\n\n{reference.BEGIN}\nold\n{reference.END}\n\nAfter ü\n", encoding="utf-8")

    assert reference.main(["--write", str(page)]) == 0

    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# Before\n\n{reference.BEGIN}\n\n### `server`\n")
    assert text.endswith(f"|\n\n{reference.END}\n\nAfter ü\n")
    assert "\nold\n" not in text
    assert reference.main(["--write", str(page)]) == 0
    assert page.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("text", ["", reference.BEGIN, reference.END, f"{reference.END}{reference.BEGIN}"])
def test_a_page_without_markers_is_left_alone(tmp_path: Path, text: str, capsys: Any) -> None:
    page = tmp_path / "README.md"
    page.write_text(text)
    assert reference.main(["--write", str(page)]) == 1
    assert page.read_text() == text
    assert "the page needs the lines" in capsys.readouterr().err


def test_without_a_page_it_is_printed(capsys: Any) -> None:
    assert reference.main([]) == 0
    assert capsys.readouterr().out == reference.reference()

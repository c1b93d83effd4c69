"""Loading the configuration: files, environment, command line, and a sentence for every mistake."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.document import parse_document
from gateway.config.expansion import expand
from gateway.config.load import DEFAULT_PATH, ConfigSource, Overrides, build, load, load_settings
from gateway.config.paths import dotted, quoted
from gateway.config.schema import Section, Server, Settings
from gateway.errors import ConfigError

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / DEFAULT_PATH
NO_OVERRIDES = Overrides()


def settings(text: str, environ: dict[str, str] | None = None, **overrides: Any) -> Settings:
    return build(parse_document(text, "test.yaml"), environ or {}, Overrides(**overrides)).settings


def problems(text: str, environ: dict[str, str] | None = None, **overrides: Any) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        settings(text, environ, **overrides)
    return refused.value.problems


class TestTheShippedFile:
    @pytest.mark.parametrize("environ", [{}, {"OPENAI_API_KEY": "sk-shipped"}])
    def test_says_what_the_gateway_does_without_a_file(self, environ: dict[str, str]) -> None:
        assert load_settings(SHIPPED, environ, NO_OVERRIDES) == build({}, environ).settings

    def test_with_everything_turned_on_still_loads_and_shows_the_defaults(self) -> None:
        text = re.sub(r"(?m)^(\s*)#(?=[^\s#])", r"\1", SHIPPED.read_text())

        loaded, plain = settings(text), build({}, {}).settings

        assert list(loaded.upstreams) == ["openai", "groq", "azure", "local", "company"]
        assert [route.models[0] for route in loaded.routes] == [
            "chat", "llama-*", "writer", "assistant", "text-embedding-*", "*",
        ]  # fmt: skip
        assert list(loaded.configs) == ["careful"]
        assert (loaded.server, loaded.store, loaded.capture) == (plain.server, plain.store, plain.capture)
        assert loaded.upstreams["openai"] == plain.upstreams["openai"]

    def test_shows_every_setting(self) -> None:
        text = re.sub(r"(?m)^(\s*)#(?=[^\s#])", r"\1", SHIPPED.read_text())
        written = yaml.safe_load(text)

        def missing(section: Section, data: dict[str, Any]) -> set[str]:
            return set(type(section).model_fields) - set(data)

        loaded = build({}, {}).settings
        assert missing(loaded, written) == set()
        for name in ("server", "store", "capture"):
            assert missing(getattr(loaded, name), written[name]) == set(), name
        assert missing(loaded.upstreams["openai"], written["upstreams"]["openai"]) == set()


class TestFiles:
    def test_without_a_name_the_shipped_place_is_read_when_present(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert load_settings(None, {}, NO_OVERRIDES).server.port == 8787
        DEFAULT_PATH.parent.mkdir()
        DEFAULT_PATH.write_text("server: {port: 9999}")
        assert load_settings(None, {}, NO_OVERRIDES).server.port == 9999

    def test_a_named_file_must_exist(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"nope\.yaml: no such file"):
            load_settings(tmp_path / "nope.yaml", {}, NO_OVERRIDES)

    def test_a_directory_is_not_a_file(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
            load_settings(tmp_path, {}, NO_OVERRIDES)

    def test_a_path_with_a_nul_is_not_a_path(self) -> None:
        with pytest.raises(ConfigError, match="is not a path"):
            load_settings(Path("a\0b"), {}, NO_OVERRIDES)

    def test_other_encodings_are_refused_with_their_byte(self, tmp_path: Path) -> None:
        (tmp_path / "latin.yaml").write_bytes(b"# caf\xe9\n")
        with pytest.raises(ConfigError, match="byte 5 is not UTF-8"):
            load_settings(tmp_path / "latin.yaml", {}, NO_OVERRIDES)

    def test_a_byte_order_mark_is_no_obstacle(self, tmp_path: Path) -> None:
        (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfserver: {port: 1}")
        assert load_settings(tmp_path / "bom.yaml", {}, NO_OVERRIDES).server.port == 1

    @pytest.mark.parametrize("text", ["", "# only a remark\n", "server:\n", "---\n...\n"])
    def test_nothing_written_means_defaults(self, text: str) -> None:
        assert settings(text) == build({}, {}).settings

    def test_a_key_without_a_value_keeps_its_default(self) -> None:
        loaded = settings("{server: {port: }, capture: {bodies: }, upstreams: , routes: }")
        assert loaded == build({}, {}).settings


class TestYaml:
    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("- a\n", "test.yaml: has a list at the top"),
            ("only text", "test.yaml: has text at the top"),
            ("a: [", "test.yaml:1:5: is not YAML"),
            ("server:\n  port: 1\n port: 2\n", "test.yaml:3:2: is not YAML"),
            ("server:\n\tport: 1\n", r"test.yaml:2:1: is not YAML: found character '\t'"),
            (
                "server: {port: 1}\nserver: {port: 2}\n",
                'test.yaml:2:1: key "server" is there twice, first on line 1',
            ),
            ("server:\n  port: 1\n  host: x\n  port: 2\n", 'test.yaml:4:3: key "port" is there twice'),
            ("1: x\n", 'test.yaml:1:1: key "1" is not text in YAML; put it in quotes'),
            ("yes: x\n", 'test.yaml:1:1: key "yes" is not text in YAML'),
            ("[a]: x\n", "test.yaml:1:1: is not YAML: found unhashable key"),
            ("a: 2024-99-99\n", "test.yaml: has a value that is no date or number"),
            ("a:\n  b: \x01\n", "test.yaml:2:6: character U+0001 is not allowed in YAML"),
            ("--- a\n--- b\n", "test.yaml:2:1: is not YAML: but found another document"),
            ("[" * 5000, "test.yaml: is nested too deeply"),
        ],
    )
    def test_is_refused_with_line_and_column(self, text: str, sentence: str) -> None:
        assert problems(text)[0].startswith(sentence)

    def test_an_alias_to_itself_is_refused(self) -> None:
        assert problems("server: &a {host: *a}")[0] == (
            "server.host: refers to itself through a YAML alias; remove the alias"
        )

    def test_merged_keys_are_not_keys_given_twice(self) -> None:
        text = """
        upstreams:
          a: &base {base_url: "http://a", connect_timeout_s: 1}
          b: &other {<<: *base, base_url: "http://b"}
          c: {<<: *other, base_url: "http://c"}
        routes: [{models: ["*"], target: {upstream: c}}]
        """
        loaded = settings(text)
        assert [u.base_url for u in loaded.upstreams.values()] == ["http://a", "http://b", "http://c"]
        assert loaded.upstreams["c"].connect_timeout_s == 1

    @given(st.text())
    def test_no_text_ends_in_a_traceback(self, text: str) -> None:
        with suppress(ConfigError):
            settings(text)


class TestExpansion:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("${A}", "one"),
            ("x${A}y${B}z", "xoneytwoz"),
            ("${NOPE:-fallback}", "fallback"),
            ("${NOPE:-}", ""),
            ("${EMPTY:-fallback}", "fallback"),
            ("${EMPTY}", ""),
            ("${A:-fallback}", "one"),
            ("${NOPE:-http://h:1/v1}", "http://h:1/v1"),
            ("$${A}", "${A}"),
            ("$$${A}", "$${A}"),
            ("$A $ {A}", "$A $ {A}"),
            ("${TRICKY}", "${A}"),
        ],
    )
    def test_replaces_references_in_text(self, text: str, expected: str) -> None:
        environ = {"A": "one", "B": "two", "EMPTY": "", "TRICKY": "${A}"}
        assert expand({"key": [text, 5, None]}, environ).data == {"key": [expected, 5, None]}

    @pytest.mark.parametrize("text", ["${", "${}", "${1A}", "${A-B}", "${A B}", "${A:default}", "${A"])
    def test_a_reference_that_is_none_is_a_problem(self, text: str) -> None:
        [problem] = expand({"k": text}, {"A": "a"}).problems[("k",)]
        assert problem.startswith(
            "k: has a ${ that begins no variable; write ${NAME} or ${NAME:-default}, or $${ "
        )

    def test_a_missing_variable_is_named_with_its_path_and_the_remedy(self) -> None:
        text = "upstreams: {openai: {base_url: 'http://x', api_key: '${OPENAI_API_KEY}'}}"
        [problem] = problems(text)
        assert problem == (
            "upstreams.openai.api_key: environment variable OPENAI_API_KEY is not set; "
            "export it or write ${OPENAI_API_KEY:-default}"
        )

    def test_a_value_that_is_one_variable_can_be_any_type(self) -> None:
        text = """
        server: {port: "${PORT:-1234}", shutdown_grace_s: "${GRACE}"}
        upstreams: {a: {base_url: "http://a", verify_tls: "${VERIFY}"}}
        """
        loaded = settings(text, {"GRACE": "1.5", "VERIFY": "false"})
        assert (loaded.server.port, loaded.server.shutdown_grace_s) == (1234, 1.5)
        assert loaded.upstreams["a"].verify_tls is False

    def test_a_missing_variable_is_not_reported_a_second_time_as_a_bad_value(self) -> None:
        assert len(problems("server: {port: '${NOPE}'}")) == 1

    def test_a_value_from_the_environment_is_named_not_shown(self) -> None:
        assert problems("server: {port: '${PORT}'}", {"PORT": "hunter2"}) == [
            "server.port: the value of PORT is not a whole number"
        ]

    @given(st.dictionaries(st.text(min_size=1), st.text().filter(lambda text: "${" not in text)))
    def test_text_without_references_stays_as_it_is(self, data: dict[str, str]) -> None:
        assert expand(data, {}).data == data


UPSTREAM = "upstreams: {a: {base_url: 'http://a', %s}}"

BAD = [
    # unknown keys
    ("sever: {}", 'sever: unknown key; did you mean "server"?'),
    ("server: {prot: 1}", 'server.prot: unknown key; did you mean "port"?'),
    (
        "upstreams: {a: {base_url: 'http://a', baseUrl: x}}",
        'upstreams.a.baseUrl: unknown key; did you mean "base_url"?',
    ),
    (UPSTREAM % "api-key: x", 'upstreams.a.api-key: unknown key; did you mean "api_key"?'),
    ("port: 1", "port: unknown key; port belongs in server"),
    ("zzz: 1", "zzz: unknown key; the keys here are server, store, capture, cache, upstreams, "),
    ("server: {'a b': 1}", 'server["a b"]: unknown key; the keys here are'),
    ("server: {zzz: }", "server.zzz: unknown key"),
    # types
    ("server: 5", "server: a number is not a mapping; write its keys below it, indented"),
    ("server: [1]", "server: a list is not a mapping"),
    ("server: {host: 12}", "server.host: 12 is not text; put it in quotes"),
    ("server: {host: [a]}", "server.host: a list is not text"),
    ("server: {host: 2024-01-01}", "server.host: a date or another YAML type is not text"),
    ("server: {port: http}", 'server.port: "http" is not a whole number'),
    ("server: {port: 80.5}", "server.port: 80.5 is not a whole number; leave the fraction out"),
    ("server: {workers: yes}", 'server.workers: "true" is not a whole number'),
    ("server: {keep_alive_s: no}", 'server.keep_alive_s: "false" is not a number'),
    ("server: {keep_alive_s: soon}", 'server.keep_alive_s: "soon" is not a number'),
    ("server: {port: {a: 1}}", "server.port: a mapping is not a whole number"),
    (UPSTREAM % "http2: maybe", 'upstreams.a.http2: "maybe" is not true or false'),
    (
        UPSTREAM % "forward_headers: x-a",
        "upstreams.a.forward_headers: text is not a list of text; write [first, second]",
    ),
    (UPSTREAM % "headers: [a]", "upstreams.a.headers: a list is not a mapping"),
    (UPSTREAM % "headers: {x-a: 5}", "upstreams.a.headers.x-a: **** is not text; put it in quotes"),
    ("capture: {request_headers: [1]}", "capture.request_headers[0]: 1 is not text; put it in quotes"),
    ("upstreams: {a: sk-secret}", "upstreams.a: text is not a mapping"),
    ("upstreams: [a]", "upstreams: a list is not a mapping"),
    ("routes: {a: b}", "routes: a mapping is not a list of mappings"),
    ("routes: [a]", "routes[0]: text is not a mapping"),
    # limits
    ("server: {port: 65536}", "server.port: 65536 is too large; use 65535 or less"),
    ("server: {port: -1}", "server.port: -1 is too small; use 0 or more"),
    ("server: {workers: 0}", "server.workers: 0 is too small; use 1 or more"),
    ("server: {keep_alive_s: 0}", "server.keep_alive_s: 0 is too small; use more than 0"),
    ("server: {keep_alive_s: 90000}", "server.keep_alive_s: 90000 is too large; use 86400 or less"),
    ("server: {keep_alive_s: .inf}", "server.keep_alive_s: inf is not a finite number; write a limit"),
    ("server: {keep_alive_s: .nan}", "server.keep_alive_s: nan is not a finite number"),
    ("server: {host: ''}", "server.host: empty text is too short; use 1 character or more"),
    (f"server: {{port: {'9' * 5000}}}", "test.yaml: has a value that is no date or number"),
    ("upstreams: {}", "upstreams: a mapping is too short; write 1 entry or more"),
    ("routes: [{models: [], target: {upstream: openai}}]", "routes[0].models: a list is too short"),
    (
        f"routes: [{{models: [{'m' * 257}], target: {{upstream: openai}}}}]",
        "is too long; use 256 characters or fewer",
    ),
    # choices
    (
        "server: {log_level: inof}",
        'server.log_level: "inof" is not one of debug, info, warning, error; did you mean "info"?',
    ),
    ("capture: {bodies: some}", 'capture.bodies: "some" is not one of all, none, errors'),
    ("capture: {bodies: no}", "capture.bodies: false is not one of all, none, errors"),
    ("store: {synchronous: off}", "store.synchronous: false is not one of normal, full"),
    # names and headers
    ("upstreams: {'a b': {base_url: 'http://a'}}", 'upstreams: "a b" is not a name; use 1 to 64 letters'),
    (UPSTREAM % "headers: {'a b': c}", 'upstreams.a.headers: "a b" is not a name; use an HTTP header name'),
    (UPSTREAM % 'headers: {x-a: "b\\nc"}', "upstreams.a.headers.x-a: **** cannot be used; use visible ASCII"),
    (UPSTREAM % "headers: {X-A: b, x-a: c}", "upstreams.a.headers: x-a is there twice"),
    (
        UPSTREAM % "headers: {Content-Length: '5'}",
        "upstreams.a.headers: content-length is set by the gateway",
    ),
    (
        "capture: {request_headers: [Authorization]}",
        "capture.request_headers: authorization carries credentials",
    ),
    # URLs and keys
    (
        "store: {url: 'postgres://u:pw@h/d'}",
        'store.url: "postgres://****@h/d" cannot be used: use sqlite:///',
    ),
    ("store: {url: 'sqlite:///'}", 'store.url: "sqlite:///" cannot be used'),
    ("store: {url: 'sqlite:///:memory:'}", "a store that is gone at exit is written memory:"),
    ("upstreams: {a: }", "upstreams.a.base_url: is missing; add it: where `/v1` of the gateway leads"),
    (
        "upstreams: {a: {base_url: localhost}}",
        'upstreams.a.base_url: "localhost" cannot be used: a base URL looks like',
    ),
    ("upstreams: {a: {base_url: 'ftp://a'}}", "a base URL looks like https://api.openai.com/v1"),
    ("upstreams: {a: {base_url: 'http://a:99999'}}", "a URL has a host and a port up to 65535"),
    ("upstreams: {a: {base_url: 'http://[a'}}", "a URL has a host and a port"),
    (
        "upstreams: {a: {base_url: 'http://u:pw@a'}}",
        '"http://****@a" cannot be used: a base URL carries no credentials',
    ),
    (
        "upstreams: {a: {base_url: 'http://a?k=pw'}}",
        '"http://a?****" cannot be used: a base URL has no query',
    ),
    ("upstreams: {a: {base_url: 'http://a b'}}", "check for a stray space or line break"),
    (UPSTREAM % 'api_key: "sk pw"', "upstreams.a.api_key: **** cannot be used: a key has visible ASCII"),
    (UPSTREAM % "api_key: 12345", "upstreams.a.api_key: **** is not text; put it in quotes"),
    (
        UPSTREAM % "transport: httpx, proxy: 'gopher://u:pw@h'",
        'upstreams.a.proxy: "gopher://****@h" cannot be used: a proxy URL',
    ),
    (
        UPSTREAM % "transport: httpx, proxy: 'http://u:p/w@h'",
        '"http://****@h" cannot be used: a URL has a host',
    ),
    # settings that contradict each other
    (UPSTREAM % "proxy: 'http://p:1'", "proxy needs transport: httpx; add it or remove proxy"),
    (UPSTREAM % "http2: true", "upstreams.a.http2: true cannot be used: http2 needs transport: httpx"),
    (
        UPSTREAM % "ca_file: /nope.pem",
        'upstreams.a.ca_file: "/nope.pem" cannot be read (No such file or directory)',
    ),
    (UPSTREAM % f"ca_file: {__file__}", "holds no certificate; give a PEM file"),
    ("{server: {workers: 2}, store: {url: 'memory:'}}", "store: memory: is not shared between workers"),
    (
        "upstreams: {a: {base_url: 'http://a'}, b: {base_url: 'http://b'}}",
        "routes: there are 2 upstreams and no routes to choose between them; add a route such as",
    ),
    ("keys: {a: {}}", "keys.a: needs either key or sha256; give one of them"),
    (
        "keys: {a: {key: short}}",
        "keys.a.key: **** cannot be used: has fewer than 16 characters",
    ),
    ("keys: {a: {sha256: abc}}", "keys.a.sha256"),
    (
        "routes: [{models: ['*'], target: {upstream: opena}}]",
        'routes[0].target.upstream: unknown upstream "opena"; did you mean "openai"?',
    ),
    ("routes: [{models: ['*'], target: {upstream: x}}]", 'unknown upstream "x"; upstreams has openai'),
    ("routes: [{models: ['*']}]", "routes[0].target: is missing; add it: where matching requests go"),
]


class TestMistakes:
    @pytest.mark.parametrize(("text", "sentence"), BAD, ids=[sentence[:40] for _, sentence in BAD])
    def test_each_gets_one_sentence_with_path_value_and_remedy(self, text: str, sentence: str) -> None:
        [problem] = problems(text)
        assert sentence in problem
        assert "\n" not in problem
        assert "pw" not in problem

    def test_are_reported_all_at_once(self) -> None:
        text = """
        server: {port: 99999, log_level: loud, zzz: 1}
        store: {url: x}
        capture: {bodies: some}
        upstreams:
          openai: {base_url: x, api_key: "${NOPE}", ca_file: /nope}
        routes: [{models: [a], target: {upstream: opena}}, {models: [b], target: {upstream: openia}}]
        """
        paths = {problem.split(": ")[0] for problem in problems(text)}
        assert paths == {
            "server.port", "server.log_level", "server.zzz", "store.url", "capture.bodies",
            "upstreams.openai.base_url", "upstreams.openai.api_key", "upstreams.openai.ca_file",
            "routes[0].target.upstream", "routes[1].target.upstream",
        }  # fmt: skip

    def test_every_limit_of_every_number_is_enforced_and_said(self) -> None:
        for name, field in Server.model_fields.items():
            if field.annotation in (int, float):
                [problem] = problems(f"server: {{{name}: -1}}")
                assert problem.startswith(f"server.{name}: -1 is too small; use "), problem

    def test_long_and_unprintable_values_are_cut_and_escaped(self) -> None:
        [problem] = problems('server: {log_level: "\\e[31m' + "x" * 500 + '"}')
        assert r'"\x1b[31mxxx' in problem
        assert len(problem) < 250

    def test_settings_made_in_code_are_held_to_the_same_rules(self) -> None:
        with pytest.raises(ValueError, match="unknown upstream"):
            Settings.model_validate({"routes": [{"models": ["*"], "target": {"upstream": "x"}}]})


class TestOverrides:
    def test_the_command_line_wins_over_the_file(self) -> None:
        text = "{server: {host: a, port: 1, keep_alive_s: 7}, store: {url: 'sqlite:///a.db'}}"
        loaded = settings(text, host="b", port=2, workers=3, store_url="sqlite:///b.db")
        assert (loaded.server.host, loaded.server.port, loaded.server.workers) == ("b", 2, 3)
        assert loaded.server.keep_alive_s == 7
        assert loaded.store.url == "sqlite:///b.db"

    def test_an_upstream_replaces_the_table_and_its_routes_and_configs(self) -> None:
        text = """
        upstreams: {a: {base_url: "http://a", api_key: "${NOPE}"}, b: {base_url: "http://b"}}
        routes: [{models: ["*"], target: {upstream: a}}]
        configs: {c: {upstream: b}}
        """
        loaded = settings(text, {"OPENAI_API_KEY": "sk-not-for-them"}, upstream_url="http://c:9001/v1/")
        assert list(loaded.upstreams) == ["upstream"]
        assert loaded.upstreams["upstream"].base_url == "http://c:9001/v1"
        assert loaded.upstreams["upstream"].api_key is None
        assert (loaded.routes, loaded.configs) == ((), {})

    @pytest.mark.parametrize(
        ("override", "sentence"),
        [
            ({"port": 70000}, "--port: 70000 is too large; use 65535 or less"),
            ({"workers": 0}, "--workers: 0 is too small; use 1 or more"),
            ({"host": ""}, "--host: empty text is too short"),
            (
                {"upstream_url": "localhost:9001"},
                '--upstream: "localhost:9001" cannot be used: a base URL looks',
            ),
            ({"store_url": "mysql://x"}, '--store: "mysql://x" cannot be used: use sqlite:///'),
            ({"store_url": "${X}"}, '--store: "${X}" cannot be used'),
        ],
    )
    def test_a_bad_option_is_called_by_its_name(self, override: dict[str, Any], sentence: str) -> None:
        [problem] = problems("", **override)
        assert problem.startswith(sentence)

    def test_do_not_hide_that_the_section_is_no_mapping(self) -> None:
        assert problems("server: 5", port=1) == [
            "server: a number is not a mapping; write its keys below it, indented"
        ]


class TestTheSource:
    @pytest.mark.parametrize(
        "source",
        [
            ConfigSource(),
            ConfigSource(Path("a b/ü.yaml"), Overrides("h", 0, 2, "http://u", "memory:")),
            ConfigSource(None, Overrides(port=5)),
        ],
    )
    def test_survives_the_way_to_a_worker_process(self, source: ConfigSource) -> None:
        environ = source.to_env()
        assert list(environ) == ["GATEWAY_CONFIG_SOURCE"]
        assert ConfigSource.from_env(environ) == source

    def test_is_the_default_one_where_none_was_handed_over(self) -> None:
        assert ConfigSource.from_env({}) == ConfigSource()

    @pytest.mark.parametrize(
        "text", ["{", "[]", "{}", '{"path": 5, "overrides": {}}', '{"path": null, "overrides": {"x": 1}}']
    )
    def test_that_nobody_wrote_is_refused(self, text: str) -> None:
        with pytest.raises(ConfigError, match="GATEWAY_CONFIG_SOURCE: was not written by this gateway"):
            ConfigSource.from_env({"GATEWAY_CONFIG_SOURCE": text})

    def test_loads(self, tmp_path: Path) -> None:
        (tmp_path / "c.yaml").write_text("server: {port: '${PORT}'}")
        source = ConfigSource(tmp_path / "c.yaml", Overrides(workers=2))
        assert source.load({"PORT": "1"}).server == Server(port=1, workers=2)

    def test_knows_what_came_from_the_environment(self) -> None:
        text = "upstreams: {a: {base_url: 'http://a', headers: {x-a: '${A}', x-b: '${B:-b}'}}}"
        loaded = build(parse_document(text, "t"), {"A": "1"})
        assert loaded.from_environment == {("upstreams", "a", "headers", "x-a")}
        assert load(SHIPPED, {}).from_environment == frozenset()


def test_paths_are_written_as_people_write_them() -> None:
    assert dotted(("routes", 0, "target", "upstream")) == "routes[0].target.upstream"
    assert dotted(("upstreams", 'a "b"', "x")) == 'upstreams["a "b""].x'
    assert dotted(("a.b", 1, 2)) == '["a.b"][1][2]'
    assert quoted("\x1b") == r'"\x1b"'


EXAMPLES = [
    pytest.param(example, id=f"{page.name}-{number}")
    for page in (ROOT / "README.md", ROOT / "docs/routing.md", ROOT / "docs/cache.md")
    for number, example in enumerate(re.findall(r"(?ms)^```yaml\n(.*?)^```", page.read_text()))
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_the_documentation_loads(example: str) -> None:
    """Where it leaves the upstreams out, those it names are put in."""
    environ = {name: f"sk-of-{name}" for name in re.findall(r"\$\{(\w+)\}", example)}
    if "upstreams:" not in example:
        named = sorted(set(re.findall(r"upstream: ([\w-]+)", example)))
        example += "upstreams:\n" + "".join(f"  {name}: {{preset: ollama}}\n" for name in named)
    assert settings(example, environ).routes

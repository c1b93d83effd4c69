"""Vendors as settings: what `preset: groq` writes into an upstream that does not say it itself.

Settings only, as anybody could write them into the file. What a dialect does with a key or a path is
`gateway.providers`' business; nothing is looked up or opened here. The addresses were read in November 2026
on the page that each entry names.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple


class Preset(NamedTuple):
    """Settings of a vendor's upstream, and what its README line says.

    `own_host` is how `base_url` looks where every customer has another; None where `settings` has it.
    """

    vendor: str
    settings: Mapping[str, Any]
    source: str
    native: str = ""
    quirks: str = ""
    own_host: str | None = None

    @property
    def base_url(self) -> str:
        return self.own_host or str(self.settings["base_url"])


_SLOW_TO_LOAD = {"first_byte_timeout_s": 1200.0}  # a model may have to be read from disk first

PRESETS: Mapping[str, Preset] = {
    "openai": Preset(
        "OpenAI",
        {"base_url": "https://api.openai.com/v1"},
        source="https://developers.openai.com/api/reference/overview",
    ),
    "azure": Preset(
        "Azure OpenAI, v1",
        {"provider": "azure"},
        own_host="https://NAME.openai.azure.com/openai/v1",
        source="https://learn.microsoft.com/azure/foundry/openai/api-version-lifecycle",
        native="`/openai/…`",
        quirks="the model is the name of your deployment; no `api-version` needed",
    ),
    "azure-deployments": Preset(
        "Azure OpenAI, deployment URLs",
        {"provider": "azure", "query": {"api-version": "2024-10-21"}},
        own_host="https://NAME.openai.azure.com/openai/deployments/{model}",
        source="https://learn.microsoft.com/azure/ai-services/openai/reference",
        native="`/openai/…`",
        quirks="`{model}` is replaced by the request's model; another version: `query: {api-version: …}`",
    ),
    "openrouter": Preset(
        "OpenRouter",
        {"base_url": "https://openrouter.ai/api/v1"},
        source="https://openrouter.ai/docs/api_reference/streaming",
        native="`/v1/messages`",
        quirks="comments in streams while it waits; your app's name: `headers: {http-referer: …}`",
    ),
    "groq": Preset(
        "Groq",
        {"base_url": "https://api.groq.com/openai/v1"},
        source="https://console.groq.com/docs/openai",
        quirks="400 for `logprobs`, `logit_bias`, `messages[].name` and `n` above 1",
    ),
    "together": Preset(
        "Together AI",
        {"base_url": "https://api.together.ai/v1"},
        source="https://docs.together.ai/docs/inference/openai-compatibility",
        quirks="its list of models is a bare array",
    ),
    "mistral": Preset(
        "Mistral",
        {"base_url": "https://api.mistral.ai/v1"},
        source="https://docs.mistral.ai/api",
    ),
    "deepseek": Preset(
        "DeepSeek",
        {"base_url": "https://api.deepseek.com", "paths": {"/v1/messages": "/anthropic/v1/messages"}},
        source="https://api-docs.deepseek.com/",
        native="`/v1/messages`",
        quirks="blank lines, in streams comments, while it waits",
    ),
    "fireworks": Preset(
        "Fireworks AI",
        {"base_url": "https://api.fireworks.ai/inference/v1"},
        source="https://docs.fireworks.ai/tools-sdks/anthropic-compatibility",
        native="`/v1/messages`",
        quirks="models are called `accounts/fireworks/models/…`",
    ),
    "xai": Preset(
        "xAI",
        {"base_url": "https://api.x.ai/v1"},
        source="https://docs.x.ai/developers/model-capabilities/text/comparison",
        native="`/v1/messages` (deprecated)",
        quirks="`/v1/responses` is its main endpoint, chat completions its legacy one",
    ),
    "gemini": Preset(
        "Gemini",
        {
            "base_url": "https://generativelanguage.googleapis.com/v1beta/openai",
            "provider": "gemini",
        },
        source="https://ai.google.dev/gemini-api/docs/openai",
        native="`/v1beta/…`",
        quirks="its own paths take the key as `x-goog-api-key`; a `?key=` of the client's stays behind",
    ),
    "anthropic": Preset(
        "Anthropic",
        {"base_url": "https://api.anthropic.com/v1", "provider": "anthropic"},
        source="https://platform.claude.com/docs/en/cli-sdks-libraries/libraries/openai-sdk",
        native="`/v1/messages` and all others",
        quirks="all but chat completions take the key as `x-api-key`, and get "
        "`anthropic-version: 2023-06-01` if the client sends none",
    ),
    "ollama": Preset(
        "Ollama",
        {"base_url": "http://127.0.0.1:11434/v1", **_SLOW_TO_LOAD},
        source="https://docs.ollama.com/api/openai-compatibility",
        native="`/v1/messages`",
        quirks="no key needed; waits 20 minutes for the first byte",
    ),
    "vllm": Preset(
        "vLLM",
        {"base_url": "http://127.0.0.1:8000/v1", **_SLOW_TO_LOAD},
        source="https://docs.vllm.ai/en/stable/serving/online_serving.html",
        native="`/v1/messages`",
        quirks="a key only if started with `--api-key`; waits 20 minutes for the first byte",
    ),
    "llama.cpp": Preset(
        "llama.cpp",
        {"base_url": "http://127.0.0.1:9931/v1", **_SLOW_TO_LOAD},
        source="https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
        native="`/v1/messages`",
        quirks="older builds listen on 8080: `base_url: http://127.0.0.1:8080/v1`; a key only if started "
        "with `--api-key`",
    ),
}


def with_preset(written: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that an upstream has together with its preset's. What was written wins.

    Mappings are laid over each other key by key, so that one more header does not cost the preset's own.
    Raises ValueError where the preset needs the host of the customer's own.
    """
    preset = PRESETS.get(str(written.get("preset")))
    if preset is None:
        return dict(written)
    if preset.own_host is not None and not written.get("base_url"):
        raise ValueError(
            f"preset {written['preset']} needs base_url, since the host is your own; e.g. {preset.own_host}"
        )
    merged = {**preset.settings}
    for key, value in written.items():
        below = merged.get(key)
        if value is not None:
            merged[key] = {**below, **value} if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def check_preset(name: str) -> str:
    """Raises ValueError with the nearest name."""
    if name in PRESETS:
        return name
    close = get_close_matches(name.lower(), PRESETS, n=1)
    remedy = f'did you mean "{close[0]}"?' if close else f"there are {', '.join(PRESETS)}"
    raise ValueError(f"there is no such preset; {remedy}")


def table() -> str:
    """The presets as a table in Markdown, for the README."""
    head = ["| preset | vendor | `base_url` | its own paths | to know |", "|---|---|---|---|---|"]
    return "\n".join([*head, *map(row, PRESETS)])


def row(name: str) -> str:
    """The line of the table for one preset."""
    preset = PRESETS[name]
    vendor = f"[{preset.vendor}]({preset.source})"
    return f"| `{name}` | {vendor} | `{preset.base_url}` | {preset.native} | {preset.quirks} |"

"""`gateway demo`: the whole thing in seconds, with no key and no network. Says what it does as it does it."""

from __future__ import annotations

import signal
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
import httpx

from gateway.cli import demo_traffic
from gateway.cli.client import Client
from gateway.cli.demo_servers import free_port, port_is_free, running_gateway, running_upstream
from gateway.cli.demo_traffic import CALLS, OPINIONS
from gateway.cli.failures import Failure
from gateway.cli.output import rows_of
from gateway.cli.printable import printable
from gateway.cli.tables import console, trace_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.cli.demo_traffic import Opinion, Sent

DEFAULT_PORT = 8787


@click.command(short_help="Try it all: no key, no network.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="Port of the gateway.",
)
@click.option("--once", is_flag=True, help="Exit after the table instead of serving on.")
def demo(port: int, *, once: bool) -> None:
    """Try it all, with no key and no network.

    Starts a fake OpenAI upstream and a gateway in front of it, sends requests as an application would, gives
    feedback as its users would, and shows what people thought. Everything is forgotten when it ends.
    """
    with ExitStack() as stack:
        stack.enter_context(_ended_by_sigterm())
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-demo-")))
        upstream_url = stack.enter_context(running_upstream())
        chosen = _usable(port)
        url = stack.enter_context(running_gateway(chosen, upstream_url, directory))
        _say_hello(url, upstream_url)
        _play(url)
        _show_traces(url)
        if once:
            return
        _say_what_next(url)
        _serve_until_interrupted()


def _usable(port: int) -> int:
    if port_is_free(port):
        return port
    chosen = free_port()
    click.echo(f"Port {port} is taken, so the gateway listens on {chosen} instead.\n")
    return chosen


def _say_hello(url: str, upstream_url: str) -> None:
    _heading("Two servers on this machine")
    click.echo(f"  a fake OpenAI upstream   {upstream_url}")
    click.echo(f"  the gateway before it    {url}/v1   (records into a temporary database)")


def _play(url: str) -> None:
    """Send the requests, then the feedback, a line each. Raises Failure when the gateway fails at it."""
    try:
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            _heading(f"{len(CALLS)} requests, as an application sends them")
            traces = [_show_sent(demo_traffic.send(client, call)) for call in CALLS]
            _heading("Feedback, as their readers give it")
            for opinion in OPINIONS:
                demo_traffic.give(client, opinion)
                _show_given(opinion, has_requests=opinion.items[0]["trace_id"] in traces)
    except httpx.HTTPError as error:
        raise Failure(f"the demo's own traffic failed: {error}") from None


def _show_sent(sent: Sent) -> str:
    call = sent.call
    streamed = "streamed" if call.body.get("stream") else ""
    failed = sent.status >= httpx.codes.BAD_REQUEST
    status = click.style(str(sent.status), fg="red" if failed else "green")
    trace = call.trace or "(generated)"
    model = str(call.body["model"])
    click.echo(
        f"  {trace:13} {call.user:5} {model:23} {status} {streamed:9}{sent.latency_ms:4.0f} ms  "
        + click.style(_short(demo_traffic.question(call), 36), dim=True)
    )
    return sent.trace


def _show_given(opinion: Opinion, *, has_requests: bool) -> None:
    item = opinion.items[0]
    times = f" x{len(opinion.items)}" if len(opinion.items) > 1 else ""
    score = f"{item['value']}:{item.get('weight', 1.0)}{times}"
    note = opinion.why if has_requests else f"{opinion.why}: kept until then"
    click.echo(f"  {item['trace_id']:13} {score:9} {opinion.who:17} " + click.style(note, dim=True))


def _show_traces(url: str) -> None:
    _heading("What people thought of each trace")
    out = console()
    out.print(trace_table(rows_of(Client(url).get("/v1/traces", "list"))))
    click.echo("A pair is value:weight. Weighted mean = sum of value x weight / sum of weights.")


def _say_what_next(url: str) -> None:
    _heading("Your turn")
    click.echo("  Read one trace with its requests and feedback, and who is unhappy:")
    _command(f"curl -s {url}/v1/traces/support-4711")
    _command(f"curl -s '{url}/v1/traces?max_weighted_mean=0'")
    click.echo("  Ask something under a trace id of your own, and say what you think of the answer:")
    _command(f"curl -s {url}/v1/chat/completions -H 'x-trace-id: mine' \\")
    _command("""  -d '{"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}'""")
    _command(f"""curl -s {url}/v1/feedback -d '{{"trace_id": "mine", "value": 8}}'""")
    _command(f"curl -s {url}/v1/traces/mine")
    click.echo("  The same without curl, from another terminal:")
    for words in ("traces list", "traces show mine", "feedback list", "logs list"):
        _command(f"gateway {words}" + (f" --url {url}" if not url.endswith(f":{DEFAULT_PORT}") else ""))
    click.echo("  In an application, only the base URL changes:")
    _command(f'OpenAI(base_url="{url}/v1", api_key="anything")')
    click.echo(f"  And in a browser: {url}/")


def _serve_until_interrupted() -> None:
    click.echo("\nServing until Ctrl+C.")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo("\nStopped. Nothing was left behind.")


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl+C does; by default it would leave the gateway running."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _heading(text: str) -> None:
    click.echo("\n" + click.style(text, bold=True))


def _command(text: str) -> None:
    click.echo("    " + click.style(text, fg="cyan"))


def _short(text: str, limit: int) -> str:
    text = printable(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"

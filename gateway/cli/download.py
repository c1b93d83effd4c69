"""Downloads: an export to a file or to stdout, in whole lines whatever happens, and how to go on with it.

What an export holds is the commands' business, what a line is that of `records`.
"""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import IO, Any

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TransferSpeedColumn

from gateway.cli.client import BrokenOff, Client, Command, Query
from gateway.cli.failures import Failure
from gateway.cli.printable import printable, printable_json, printable_lines
from gateway.cli.records import JsonLines, Records, Table


@dataclass(slots=True, frozen=True)
class FilePlace:
    """Where a download goes and which part of it is wanted."""

    file: Path | None
    after: str | None
    limit: int | None
    offset: int
    overwrite: bool


def to_file(command: Command) -> Command:
    """Adds the options of a download, which arrive as `place`."""

    @click.option(
        "-f", "--file", type=click.Path(dir_okay=False, path_type=Path),
        help="Where to; stdout when left out.",
    )  # fmt: skip
    @click.option("--after", metavar="ID", help="Go on behind the line with this id; FILE is added to.")
    @click.option("--limit", type=click.IntRange(min=1), help="Lines at most.")
    @click.option("--offset", type=click.IntRange(min=0), default=0, help="Lines to pass over first.")
    @click.option("--overwrite", is_flag=True, help="Replace FILE where it exists.")
    @wraps(command)
    def with_place(
        file: Path | None, after: str | None, limit: int | None, offset: int, overwrite: bool, **rest: Any
    ) -> None:
        command(place=FilePlace(file, after, limit, offset, overwrite), **rest)

    return with_place


def download_file(
    client: Client,
    path: str,
    query: Query,
    place: FilePlace,
    *,
    is_csv: bool = False,
    strips_ids: bool = False,
) -> None:
    """Download `path` to `place`. Raises Failure, with the command to go on with where there are lines."""
    wanted = [*query, *([("after", place.after)] if place.after else [])]
    if place.limit is not None:
        wanted.append(("limit", str(place.limit + place.offset)))
    records: Records = Table(has_header=place.after is None) if is_csv else JsonLines(strips_ids=strips_ids)
    with client.stream(path, wanted) as pieces, _output(place, is_csv=is_csv) as output:
        transfer = _Transfer(records, output, place.offset)
        try:
            with _progress(transfer, place) as progressed:
                for piece in pieces:
                    transfer.take(piece)
                    progressed()
        except BrokenOff as error:
            raise _Cut(f"cut off after {transfer.words}: {error}", transfer, place) from None
        except BrokenPipeError:
            raise  # whoever read it has enough
        except OSError as error:
            raise _Cut(
                f"stopped after {transfer.words}: {error.strerror or error}", transfer, place
            ) from None
        except KeyboardInterrupt:
            raise _Interrupted(f"stopped after {transfer.words}", transfer, place) from None
    if place.file is not None:
        click.echo(f"{transfer.words} in {printable(str(place.file))}", err=True)
    if place.limit is not None and transfer.written == place.limit:
        click.echo(f"There may be more: {_go_on(transfer, place)}", err=True)


class _Cut(Failure):
    """Not all lines came. Says how to get the others."""

    def __init__(self, message: str, transfer: _Transfer, place: FilePlace) -> None:
        super().__init__(message)
        self._command = _go_on(transfer, place)

    def show(self, file: IO[Any] | None = None) -> None:
        super().show(file)
        click.echo(f"gateway: go on with: {self._command}", err=True, file=file)


class _Interrupted(_Cut):
    """Ctrl-C: the shells' exit code for it."""

    exit_code = 130


class _Output:
    """Takes whole lines. Ctrl-C waits until they are written; a file that is full keeps none in half."""

    def __init__(self, stream: IO[bytes], *, is_file: bool, show: Callable[[str], str] | None) -> None:
        self._stream = stream
        self._is_file = is_file
        self._show = show
        self._is_writing = False
        self._is_interrupted = False

    def write(self, data: bytes) -> None:
        if self._show is not None:
            data = self._show(data.decode("utf-8", "replace")).encode("utf-8", "replace")
        self._is_writing = True
        try:
            self._write(data)
        finally:
            self._is_writing = False

    def raise_if_interrupted(self) -> None:
        """Call it when what was written is accounted for. Raises KeyboardInterrupt."""
        if self._is_interrupted:
            raise KeyboardInterrupt

    def _write(self, data: bytes) -> None:
        start = self._stream.tell() if self._is_file else 0
        try:
            self._stream.write(data)
            self._stream.flush()
        except OSError:
            if self._is_file:
                self._stream.truncate(start)
            raise

    def interrupt(self, _: int, __: FrameType | None) -> None:
        self._is_interrupted = True
        if not self._is_writing:
            raise KeyboardInterrupt


class _Transfer:
    """What has come so far. The first `skip` records are passed over."""

    def __init__(self, records: Records, output: _Output, skip: int) -> None:
        self._records = records
        self._output = output
        self._skip = skip
        self.passed = 0
        self.written = 0
        self.size = 0
        self.last_id: str | None = None

    @property
    def words(self) -> str:
        return "1 line" if self.written == 1 else f"{self.written:,} lines"

    def take(self, piece: bytes) -> None:
        kept, last_id, count, passed = [], self.last_id, 0, self.passed
        for data, record_id in self._records.feed(piece):
            if record_id is not None:
                last_id = record_id
                passed += 1
                if passed <= self._skip:
                    continue
                count += 1
            kept.append(data)
        if kept:
            self._output.write(b"".join(kept))
        self.last_id, self.passed = last_id, passed
        self.written += count
        self.size += len(piece)
        self._output.raise_if_interrupted()


@contextmanager
def _output(place: FilePlace, *, is_csv: bool) -> Iterator[_Output]:
    if place.file is None:
        show: Callable[[str], str] | None = None
        if sys.stdout.isatty():
            show = printable_lines if is_csv else printable_json
        output = _Output(sys.stdout.buffer, is_file=False, show=show)
        with _interruptible(output):
            yield output
        return
    mode = "ab" if place.after else "wb" if place.overwrite else "xb"
    try:
        stream = place.file.open(mode)
    except FileExistsError:
        raise Failure(
            f"{place.file} exists; name another file, go on with --after ID, or replace it with --overwrite"
        ) from None
    except OSError as error:
        raise Failure(f"cannot write {place.file}: {error.strerror or error}") from None
    with stream:
        output = _Output(stream, is_file=True, show=None)
        with _interruptible(output):
            yield output


@contextmanager
def _interruptible(output: _Output) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, output.interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress(transfer: _Transfer, place: FilePlace) -> Iterator[Callable[[], None]]:
    """Lines, speed and time on the terminal, unless the lines go there themselves."""
    if not sys.stderr.isatty() or (place.file is None and sys.stdout.isatty()):
        yield lambda: None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[lines]}"),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None, lines=transfer.words)

        def progressed() -> None:
            progress.update(task, completed=transfer.size, lines=transfer.words)

        yield progressed


def _go_on(transfer: _Transfer, place: FilePlace) -> str:
    """The command that was given, for the lines that have not come."""
    context = click.get_current_context()
    words = context.command_path.split()
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if parameter.name in ("after", "limit", "offset", "overwrite", "key"):
            continue
        source = context.get_parameter_source(parameter.name or "")
        if source is click.core.ParameterSource.COMMANDLINE and isinstance(parameter, click.Option):
            words += _spelled(parameter, value)
    last_id = transfer.last_id or place.after
    if last_id is not None:
        words += ["--after", last_id]
    elif place.overwrite or (place.file is not None and transfer.written == 0):
        words.append("--overwrite")
    if place.offset > transfer.passed:
        words += ["--offset", str(place.offset - transfer.passed)]
    if place.limit is not None and transfer.written < place.limit:
        words += ["--limit", str(place.limit - transfer.written)]
    return printable(shlex.join(words))


def _spelled(option: click.Option, value: Any) -> list[str]:
    name = max(option.opts, key=len)
    if option.is_flag:
        flags = option.opts if value else option.secondary_opts
        return [flags[0]] if flags else []
    values = value if option.multiple else [value]
    return [word for each in values for word in (name, str(each))]

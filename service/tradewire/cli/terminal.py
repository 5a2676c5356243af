"""A terminal on which lines are typed while others are printed; a pipe serves as well."""

import asyncio
import codecs
import os
import re
import shutil
import sys
import termios
import tty
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

ERASE_LINE = "\r\x1b[K"
PROMPT = "> "
_ESCAPE_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|O.|.)?", re.DOTALL)
_BACKSPACE, _KILL_LINE, _END = "\x7f\b", "\x15", "\x04"


class LineEditor:
    """Keys become lines. Backspace and Ctrl-U erase, Ctrl-D on an empty line ends."""

    def __init__(self) -> None:
        self.text = ""
        self.ended = False

    def type(self, keys: str) -> list[str]:
        """Take keys; the lines that they finish. What follows the end is ignored."""
        lines: list[str] = []
        for key in _ESCAPE_SEQUENCE.sub("", keys):
            if key in "\r\n":
                lines.append(self.text)
                self.text = ""
            elif key == _END and not self.text:
                self.ended = True
                break
            else:
                self._edit(key)
        return lines

    def _edit(self, key: str) -> None:
        if key in _BACKSPACE:
            self.text = self.text[:-1]
        elif key == _KILL_LINE:
            self.text = ""
        elif key.isprintable():
            self.text += key


class Terminal:
    """Standard input and output of a conversation.

    On a terminal the keys arrive one by one, and what is being typed stays below what is printed;
    the terminal is left as it was found.
    """

    def __init__(self) -> None:
        self._source = sys.stdin.fileno()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._editor = LineEditor()
        self._interactive = sys.stdin.isatty() and sys.stdout.isatty()

    @property
    def typing(self) -> bool:
        """Whether a line has been begun."""
        return bool(self._editor.text)

    def __enter__(self) -> Self:
        if self._interactive:
            self._found = termios.tcgetattr(self._source)
            tty.setcbreak(self._source, termios.TCSADRAIN)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._interactive:
            termios.tcsetattr(self._source, termios.TCSADRAIN, self._found)
            self._write(ERASE_LINE)

    async def read(self) -> AsyncIterator[list[str]]:
        """The lines that were finished with each keystroke or chunk, often none; until the end."""
        self._redraw()
        while not self._editor.ended:
            keys = await self._keys()
            lines = self._editor.type(keys)
            if not keys:
                self._editor.ended = True
                lines += [self._editor.text] if self._editor.text else []
            self._redraw()
            yield lines

    def show(self, text: str) -> None:
        """Print a line above what is being typed."""
        if self._interactive:
            self._write(f"{ERASE_LINE}{text}\n")
            self._redraw()
        else:
            self._write(f"{text}\n")

    def echo(self, text: str) -> None:
        """Print a line that was typed here, where nobody else has printed it yet."""
        if self._interactive:
            self.show(text)

    async def _keys(self) -> str:
        """What was typed since, "" at the end."""
        await _readable(self._source)
        read = os.read(self._source, 4096)
        keys = self._decoder.decode(read)
        return keys if keys or not read else await self._keys()

    def _redraw(self) -> None:
        if self._interactive:
            room = shutil.get_terminal_size().columns - len(PROMPT) - 1
            self._write(f"{ERASE_LINE}{PROMPT}{self._editor.text[-room:]}")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


async def _readable(source: int) -> None:
    """Wait until a read will not block; a file never does."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(source, ready.set)
    except PermissionError:
        return
    try:
        await ready.wait()
    finally:
        loop.remove_reader(source)

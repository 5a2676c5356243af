"""`python -m tradewire.testing.engines [cassandra] [kafka]`: engines for development.

They run until Ctrl-C. Standard output is what to export, standard error how it goes.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from tradewire.testing.engines import EngineError, cassandra, kafka
from tradewire.testing.engines.handles import Kind
from tradewire.testing.engines.sources import KAFKA_VARIABLE, SCYLLA_VARIABLE

ENGINES = ("cassandra", "kafka")
OURS: tuple[Kind, ...] = ("container", "process")


def main(arguments: Sequence[str]) -> int:
    """Start engines, say where they are, and stop them on SIGINT or SIGTERM; the exit code."""
    asked = _parser().parse_args(arguments).engines or ENGINES
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with ExitStack() as stack:
        try:
            for engine in asked:
                sys.stdout.write(f"export {_start(engine, stack)}\n")
                sys.stdout.flush()
            _tell("running; Ctrl-C stops")
            while True:
                signal.pause()
        except EngineError as error:
            _tell(str(error))
            return 1
        except KeyboardInterrupt:
            _tell("stopping")
    return 0


def _start(engine: str, stack: ExitStack) -> str:
    """Start one; the variable and its value."""
    if engine == "kafka":
        broker = stack.enter_context(kafka(kinds=OURS, tell=_tell, environ=os.environ))
        return f"{KAFKA_VARIABLE}={broker.brokers}"
    nodes = stack.enter_context(cassandra(kinds=OURS, tell=_tell, environ=os.environ))
    return f"{SCYLLA_VARIABLE}={','.join(nodes.hosts)}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tradewire.testing.engines")
    parser.add_argument(
        "engines", nargs="*", type=_known, metavar="cassandra|kafka", help="default: both"
    )
    return parser


def _known(engine: str) -> str:
    # `choices` would refuse an empty list.
    if engine not in ENGINES:
        raise argparse.ArgumentTypeError(f"{engine!r} is neither {' nor '.join(ENGINES)}")
    return engine


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The command line: ``pyslirp --listen ADDR [OPTIONS]``, ``pyslirp demo``, ``pyslirp run -- qemu-system-... ...``.

Exit status: 0 after SIGINT or SIGTERM, 1 where something of the host stands in the way (an address in use), 2 for what was
written wrong; `run` passes on the status of its command.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] == "demo":
        from pyslirp.cli.demo import demo  # noqa: PLC0415 - only where it is wanted

        return demo(arguments[1:])
    if arguments and arguments[0] == "run":
        from pyslirp.cli.run import run  # noqa: PLC0415 - only where it is wanted

        return run(arguments[1:])
    from pyslirp.cli.serve import serve  # noqa: PLC0415 - only where it is wanted

    return serve(arguments)

"""The same targets under atheris (libFuzzer for Python), where it is installed: guided by the coverage of Python code.

Not repeatable to the byte and not part of CI; for long runs by hand.
"""

from __future__ import annotations

import sys
import tempfile
from typing import NoReturn

from fuzz.engine.session import Limits
from fuzz.engine.target import CRASH, Target


def run(target: Target, seed: int, limits: Limits) -> NoReturn:
    """Fuzz one target and end the process as libFuzzer: status 0, or another after a crash, then in the corpus."""
    import atheris  # noqa: PLC0415 - optional

    with atheris.instrument_imports(include=["pyslirp"]):
        function = target.load()

    def one(data: bytes) -> None:
        function(data)

    target.corpus.mkdir(parents=True, exist_ok=True)
    options = [
        f"-seed={seed & 0xFFFFFFFF}",
        f"-max_total_time={int(limits.seconds)}",
        f"-timeout={int(limits.input_seconds)}",
        f"-artifact_prefix={target.corpus}/{CRASH}",
    ]
    words = target.folder / "dict" / f"{target.name}.dict"
    if words.is_file():
        options.append(f"-dict={words}")
    with tempfile.TemporaryDirectory(prefix="fuzz-") as found:  # new inputs go to the first folder
        atheris.Setup([sys.argv[0], *options, found, str(target.corpus)], one)
        atheris.Fuzz()
    raise SystemExit(0)

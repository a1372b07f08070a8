"""Who has sent a SIGINT: a terminal, to all in its foreground, or somebody, to us alone."""

from __future__ import annotations

import os

TERMINAL = "/dev/tty"  #: the controlling terminal, whatever standard input is (tty(4))


def in_foreground() -> bool:
    """Are we, and with us the command that we have started, what a terminal's Ctrl-C is for?"""
    try:
        terminal = os.open(TERMINAL, os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # there is none
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)

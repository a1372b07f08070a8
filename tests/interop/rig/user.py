"""An ordinary user of this machine: no number of his own in any user namespace, no capability, a /dev/net/tun as most have it.

The lab's users are root in a user namespace of ours, which is not the same.  As root we become one, in a mount namespace
whose /dev/net/tun is open to all (the machine's may not be); who is one already is taken as he is.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.interop.rig.require import require, unavailable

NOBODY = 65534
TUN = Path("/dev/net/tun")


def ordinary_user(tun_mode: str | None = "666") -> list[str]:
    """The command prefix that runs a program as one; killed with the test run.

    tun_mode: who may open /dev/net/tun; None: there is none.  Of root's rights the user keeps that to read, for the
    checkout and Python may lie where only root can.
    """
    setpriv = [require("setpriv", "util-linux"), "--pdeathsig=KILL"]
    if os.geteuid() != 0:
        if tun_mode != "666":
            unavailable("only root can take /dev/net/tun away")
        if not os.access(TUN, os.R_OK | os.W_OK):
            unavailable(f"{TUN} is closed to users: chmod 666 {TUN}, or run as root")
        return [*setpriv, "--"]
    node = f"mknod -m {tun_mode} {TUN} c 10 200" if tun_mode else ":"
    prepare = f'mount -t tmpfs none {TUN.parent} && {node} && exec "$@"'
    become = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--bounding-set=-all,+dac_read_search"]
    may_read = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search"]
    return [require("unshare", "util-linux"), "--mount", "sh", "-c", prepare, "sh", *setpriv, *become, *may_read, "--"]

"""Taps inside namespaces: the errand that makes one (host/) and what it is to be there (links/), put together.

Whoever wants a tap begins the errand before anything else is imported, so neither this module nor what it needs imports
what takes long (logging, pathlib, tempfile, the configuration): tests/meta/test_startup.py.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from pyslirp.errors import LinkError
from pyslirp.host.errand import Errand
from pyslirp.host.namespaces import join
from pyslirp.links.interface import InterfaceSettings, configure
from pyslirp.links.tun import open_tap

RESOLV_CONF = "/etc/resolv.conf"
STANDARD_ERROR = 2


def open_inside(netns: str | None, name: str, settings: InterfaceSettings | None, userns: str | None = None) -> Errand:
    """Begin to open the tap `name`; configured, where there are settings.

    netns: the file of the network namespace that it is to be in; None: ours.  userns: that of the user namespace that is
    joined before; None: the owner of `netns`, where that is needed.
    """

    def make() -> int:
        if netns is not None:
            join(netns, userns)
        return _open(name, settings)

    return Errand(make)


def open_with_command(
    command: Sequence[str],
    name: str,
    settings: InterfaceSettings,
    resolv_conf: str,
    *,
    as_root: bool,
    hostname: str | None = None,
) -> Errand:
    """Begin a new namespace with the tap `name` in it; after `go_on` the child becomes `command`.

    resolv_conf: the text of the /etc/resolv.conf that the command sees.  hostname: what its machine is called; None: as
    the host.
    """
    from pyslirp.host.unsharing import create, keep_net_capabilities, overlay_file  # noqa: PLC0415 - see the top

    def make() -> int:
        create(as_root=as_root, hostname=hostname)
        descriptor = _open(name, settings)
        try:
            overlay_file(RESOLV_CONF, resolv_conf)
        except OSError as error:
            os.write(STANDARD_ERROR, f"pyslirp: {RESOLV_CONF} stays that of the host: {error.strerror}\n".encode())
        return descriptor

    def then() -> None:
        keep_net_capabilities()
        try:
            os.execvp(command[0], list(command))  # noqa: S606 - the command is the user's own
        except OSError as error:
            raise LinkError(error.errno, f"{command[0]}: {error.strerror}") from None

    return Errand(make, then)


def _open(name: str, settings: InterfaceSettings | None) -> int:
    descriptor = open_tap(name)
    if settings is not None:
        configure(name, settings)
    return descriptor

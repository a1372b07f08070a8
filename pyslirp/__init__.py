"""A user-mode network for any guest: QEMU's ``-netdev user``, programmable from Python, without root.

The names below are imported when they are first used: a command line need not wait for asyncio.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pyslirp._version import __version__

if TYPE_CHECKING:
    from pyslirp.addresses import Endpoint, Mac
    from pyslirp.config.stack import Config
    from pyslirp.errors import ClosedError, ConfigError, ConfigErrors, ForwardError, LinkError, SlirpError
    from pyslirp.network import Network, Server

_HOMES = {
    "ClosedError": "pyslirp.errors",
    "Config": "pyslirp.config.stack",
    "ConfigError": "pyslirp.errors",
    "ConfigErrors": "pyslirp.errors",
    "Endpoint": "pyslirp.addresses",
    "ForwardError": "pyslirp.errors",
    "LinkError": "pyslirp.errors",
    "Mac": "pyslirp.addresses",
    "Network": "pyslirp.network",
    "Server": "pyslirp.network",
    "SlirpError": "pyslirp.errors",
}

__all__ = [
    "ClosedError",
    "Config",
    "ConfigError",
    "ConfigErrors",
    "Endpoint",
    "ForwardError",
    "LinkError",
    "Mac",
    "Network",
    "Server",
    "SlirpError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

"""Which services a network has, by its configuration, and what they need of the host.

A service is pure (services/base.py); here it is given its settings, its random numbers, and the descriptors by which the
host's resolvers and files are reached.  What few networks use is imported when one does.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyslirp.addresses import Address, Mac
from pyslirp.config.stack import Config
from pyslirp.dispatch import Dispatcher
from pyslirp.host.resolvers import Resolvers
from pyslirp.host.upstream import Upstream, Watcher
from pyslirp.observe.log import RateLimited
from pyslirp.services.dhcp import DhcpService
from pyslirp.services.dns import DnsService
from pyslirp.settings import dhcp6_settings, dhcp_settings, router_settings

if TYPE_CHECKING:
    from pyslirp.services.tftp import TftpService

_log = RateLimited(logging.getLogger("pyslirp.service_set"))


class ServiceSet:
    """The services of one network, in its dispatcher."""

    def __init__(
        self, config: Config, mac: Mac, mtu: int, dispatcher: Dispatcher, watcher: Watcher, clock: Callable[[], int]
    ) -> None:
        """`mac`: the gateway's; `mtu`: the largest packet of the network, bytes; `watcher`: of resolvers' sockets."""
        self._config = config
        self._mac = mac
        self._mtu = mtu
        self._dispatcher = dispatcher
        self._clock = clock
        self._upstream = Upstream(watcher, self._resolved)
        dispatcher.resolving = self._upstream
        self._dns: DnsService | None = None
        self._tftp: TftpService | None = None
        if config.network.ipv4:
            dispatcher.add(DhcpService(dhcp_settings(config, mtu)))
        if config.network.ipv6:
            self._add_ipv6()
        if not config.network.restrict:
            self._add_dns()
        if config.boot.tftp is not None:
            self._add_tftp(config.boot.tftp)

    def _add_dns(self) -> None:
        config = self._config
        if config.dns_aliases and config.dns.forward:
            resolvers = Resolvers(chosen=config.dns.upstream)
            self._dns = DnsService(config.dns_aliases, resolvers.current, _random16)
            self._dispatcher.add(self._dns)

    def _add_ipv6(self) -> None:
        from pyslirp.services.dhcp6 import Dhcp6Service  # noqa: PLC0415 - who has no IPv6 need not wait for it
        from pyslirp.services.router import RouterService  # noqa: PLC0415

        self._dispatcher.add(Dhcp6Service(dhcp6_settings(self._config, self._mac)))
        router = router_settings(self._config, self._mac, self._mtu)
        self._dispatcher.add(RouterService(router, _random16, self._clock()))

    def _add_tftp(self, path: str) -> None:
        from pyslirp.host.files import Folder, is_readable_folder  # noqa: PLC0415 - who shares no files need not wait
        from pyslirp.services.tftp import TftpService  # noqa: PLC0415

        if not is_readable_folder(path):
            _log.warning("tftp=%s: no folder that can be read; guests find no file until there is one", path)
        network = self._config.network
        spoken = ((network.ipv4, network.host), (network.ipv6, network.host6))
        addresses: list[Address] = [address for is_spoken, address in spoken if is_spoken]
        self._tftp = TftpService(addresses, Folder(path), lambda: self._mtu, _random16)
        self._dispatcher.add(self._tftp)

    def set_restrict(self, restrict: bool) -> int:
        """``restrict=`` from now on; how many flows were cut, which are those to a name server that is silent now."""
        self._dispatcher.set_restrict(restrict)
        if restrict:
            return self._dispatcher.disable(self._dns) if self._dns is not None else 0
        if self._dns is None:
            self._add_dns()
        else:
            self._dispatcher.enable(self._dns)
        return 0

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """What each service has to tell, by its name."""
        return {service.name: service.snapshot() for service in self._dispatcher.services}

    def close(self) -> None:
        """Close what the services have of the host: sockets of resolvers, files."""
        self._upstream.close()
        if self._tftp is not None:
            self._tftp.close()

    def _resolved(self, key: int, message: bytes | None, reason: str) -> None:
        if self._dns is not None:
            self._dispatcher.perform(self._dns.answer(key, message, reason, self._clock()))


def _random16() -> int:
    return int.from_bytes(os.urandom(2))

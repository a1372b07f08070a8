"""What is measured: each a function of a running peer, its guest, and how many seconds it may take."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.namespace import HERE, Missing, Namespace, compiled, end
from bench.peers import Running

Figures = dict[str, float]
_ports = itertools.cycle(range(5301, 5900))  #: a new one each time: the last one's connections may linger


@dataclass(frozen=True)
class Load:
    """A row of the table."""

    name: str
    unit: str
    figure: str  #: the one of its figures that stands in the table
    more: str  #: another one, in parentheses
    less_is_better: bool
    measure: Callable[[Running, Namespace, float], Figures]


def _iperf(*words: str) -> Callable[[Running, Namespace, float], Figures]:
    def measure(running: Running, guest: Namespace, seconds: float) -> Figures:
        port = next(_ports)
        try:
            server = subprocess.Popen(
                ["iperf3", "-s", "-1", "-B", "127.0.0.1", "-p", str(port)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except FileNotFoundError:
            raise Missing("iperf3: apt-get install iperf3") from None
        time.sleep(0.25)  # it says that it listens, but into a buffer
        before = running.cpu_seconds()
        argv = ["iperf3", "-J", "-c", running.peer.gateway, "-p", str(port), "-t", f"{max(seconds, 1):.0f}", *words]
        said = guest.run(argv, seconds + 15)
        used = running.cpu_seconds() - before
        end(server)
        try:
            told = json.loads(said)["end"]
            total = dict(told.get("sum_received") or told["sum"])
            for figure in ("bits_per_second", "bytes"):  # of both directions, where there are two
                total[figure] += told.get("sum_received_bidir_reverse", {}).get(figure, 0)
        except (ValueError, KeyError):
            return {"mbps": 0.0}
        # Older iperf3 has no sum_received for UDP: what is lost is told, and taken off.
        arrived = 1.0 if "sum_received" in told else 1 - total.get("lost_percent", 0) / 100
        figures = {"mbps": total["bits_per_second"] / 1e6 * arrived, "cpu_s_per_gb": used / max(total["bytes"] / 1e9, 1e-9)}
        rates = [stream["receiver"]["bits_per_second"] for stream in told.get("streams", []) if "receiver" in stream]
        if len(rates) > 1:
            figures["spread_percent"] = (max(rates) - min(rates)) / (sum(rates) / len(rates)) * 100
        if "lost_percent" in total:
            figures["lost_percent"] = total["lost_percent"]
        return figures

    return measure


def _probe(mode: str, number: int = 0) -> Callable[[Running, Namespace, float], Figures]:
    def measure(running: Running, guest: Namespace, seconds: float) -> Figures:
        port = str(next(_ports))
        program = compiled(HERE / "c/probe.c")
        server = subprocess.Popen([program, "serve", port], stdout=subprocess.PIPE)
        assert server.stdout is not None
        server.stdout.readline()
        said = guest.run([program, mode, running.peer.gateway, port, str(number or seconds)], 90)
        memory = running.rss_mb()
        end(server)
        figures = {name: float(value) for name, value in re.findall(r"(\w+)=([\d.]+)", said)}
        return figures | ({"rss_mb": memory} if number else {})

    return measure


def _idle(running: Running, guest: Namespace, seconds: float) -> Figures:
    del guest
    before = running.cpu_seconds()
    time.sleep(seconds)
    return {"rss_mb": running.rss_mb(), "cpu_percent": (running.cpu_seconds() - before) / seconds * 100}


LOADS = {
    load.name: load
    for load in (
        Load("idle", "MB", "rss_mb", "cpu_percent", True, _idle),
        Load("rr", "us", "p50_us", "p99_us", True, _probe("rr")),
        Load("urr", "us", "p50_us", "p99_us", True, _probe("urr")),
        Load("crr", "/s", "per_s", "p99_us", False, _probe("crr")),
        Load("up", "Mbit/s", "mbps", "cpu_s_per_gb", False, _iperf()),
        Load("down", "Mbit/s", "mbps", "cpu_s_per_gb", False, _iperf("-R")),
        Load("up8", "Mbit/s", "mbps", "spread_percent", False, _iperf("-P", "8")),
        Load("down8", "Mbit/s", "mbps", "spread_percent", False, _iperf("-R", "-P", "8")),
        Load("bidir", "Mbit/s", "mbps", "spread_percent", False, _iperf("--bidir")),
        Load("udp_up", "Mbit/s", "mbps", "lost_percent", False, _iperf("-u", "-b", "0", "-l", "1400")),
        Load("udp_down", "Mbit/s", "mbps", "lost_percent", False, _iperf("-u", "-b", "0", "-l", "1400", "-R")),
        Load("hold1k", "/s", "round_per_s", "rss_mb", False, _probe("hold", 1000)),
        Load("hold8k", "/s", "round_per_s", "rss_mb", False, _probe("hold", 8000)),
    )
}
USUAL = ("idle", "rr", "urr", "crr", "up", "down", "udp_up", "udp_down", "hold1k")

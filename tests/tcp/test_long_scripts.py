"""Scripts over hours and days, which are too long to be written."""

from __future__ import annotations

from pyslirp.sim import script as scripts
from pyslirp.sim.notation import parse

PROBE_SECONDS = 7200
DAY_SECONDS = 86400
STAMPED = """
set established win 65535 <mss 1000,TS val 1000000 ecr 0>
+0 < P. 1:11(10) ack 1 win 65535 <TS val 1000000 ecr 0>
+0 > . 1:1(0) ack 11 <...>
"""
# A guest whose clock was set back (its machine was restored): what it sends looks old, but shows that it is there.
PROBED = f"""
+{PROBE_SECONDS} > . 0:0(0) ack 11 <...>
+0 < . 11:11(0) ack 1 win 65535 <TS val 5000 ecr 0>
+0 > . 1:1(0) ack 11 <TS val * ecr 1000000>
"""
OLD = """
+0 < P. 11:21(10) ack 1 win 65535 <TS val 5001 ecr 0>
+0 > . 1:1(0) ack 11 <TS val * ecr 1000000>
"""
NEW = """
+0 < P. 11:21(10) ack 1 win 65535 <TS val 5001 ecr 0>
+0 > . 1:1(0) ack 21 <TS val * ecr 5001>
+0 < P. 21:31(10) ack 1 win 65535 <TS val 5000 ecr 0>
+0 > . 1:1(0) ack 21 <TS val * ecr 5001>
+0 read 20
"""
# A user timeout of 180 minutes, and something that is never acknowledged.
ASKING = """
set established win 65535 <mss 1000>
+0 < . 1:1(0) ack 1 win 65535 <raw 1c0480b4>
+0 write 10
+0 > P. 1:11(10) ack 1
"""


def test_a_timestamp_of_24_days_ago_makes_nothing_old() -> None:
    """RFC 7323 section 5.5.  A minute before it does; a minute later the first segment that comes brings a new one."""
    probes = 24 * DAY_SECONDS // PROBE_SECONDS - 1
    before = f"+{PROBE_SECONDS - 60} expect state == ESTABLISHED"
    after = "+120 expect state == ESTABLISHED"
    scripts.run(parse("\n".join([STAMPED, *[PROBED] * probes, before, OLD, after, NEW])))


def test_a_user_timeout_of_three_hours_is_not_cut_short_by_keepalive() -> None:
    """RFC 5482 section 3.1, RFC 9293 MUST-26: the guest is silent for longer than keepalive bears."""
    again, alive, end = "* > P. 1:11(10) ack 1", "@10800 expect state == ESTABLISHED", "* > R. 11:11(0) ack 1"
    scripts.run(parse("\n".join([ASKING, *[again] * 187, alive, end])))

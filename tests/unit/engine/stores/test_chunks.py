from __future__ import annotations

from pyslirp.engine.stores.chunks import _Pool

CHUNK = 16384
CACHE = 256
KEPT = 16


def test_the_budget_is_kept_and_refusals_are_counted() -> None:
    pool = _Pool(3 * CHUNK + CHUNK - 1)
    taken = [pool.take() for _ in range(5)]
    assert len({chunk for chunk in taken if chunk}) == 3
    assert taken[3:] == [0, 0]
    assert pool.used_bytes == 3 * CHUNK
    assert pool.refused == 2
    for chunk in taken[:3]:
        pool.drop(chunk)
    assert pool.used_bytes == 0
    assert pool.take()
    pool.drop(taken[2])


def test_the_last_given_is_the_first_taken() -> None:
    pool = _Pool(10 * CHUNK)
    one, other = pool.take(), pool.take()
    pool.drop(one)
    pool.drop(other)
    assert pool.cached == 2
    assert [pool.take(), pool.take()] == [other, one]
    assert pool.cached == 0
    pool.drop(one)
    pool.drop(other)


def test_the_cache_is_bounded() -> None:
    pool = _Pool(2**40)
    taken = [pool.take() for _ in range(CACHE + 20)]
    for chunk in taken:
        pool.drop(chunk)
    assert pool.cached == CACHE
    assert pool.used_bytes == 0


def test_what_nobody_has_needed_for_a_while_is_given_back() -> None:
    pool = _Pool(2**40)
    burst = [pool.take() for _ in range(100)]
    for chunk in burst:
        pool.drop(chunk)
    pool.trim()
    assert pool.cached == 100, "all of them were in use a moment ago"
    busy = [pool.take() for _ in range(60)]
    for chunk in busy:
        pool.drop(chunk)
    pool.trim()
    assert (pool.cached, pool.freed_bytes) == (60, 40 * CHUNK)
    pool.trim()
    assert (pool.cached, pool.freed_bytes) == (KEPT, (100 - KEPT) * CHUNK)
    pool.trim()
    assert pool.cached == KEPT
    pool.drop(pool.take())
    pool.trim()
    assert pool.cached == KEPT


def test_a_budget_of_nothing_gives_nothing() -> None:
    pool = _Pool(CHUNK - 1)
    assert pool.take() == 0
    assert pool.refused == 1


def test_a_share_depends_on_what_is_free_for_all() -> None:
    """Who takes what he can get ends with four fifths, the next with four fifths of the rest."""
    whole = _Pool(25 * CHUNK)
    one, other = _Pool(0, whole), _Pool(0, whole)
    mine = [chunk for _ in range(25) if (chunk := one.take())]
    assert len(mine) == 20
    assert (one.refused, whole.refused) == (5, 5)
    assert (one.tight, other.tight) == (True, True)
    theirs = [chunk for _ in range(25) if (chunk := other.take())]
    assert len(theirs) == 4
    assert (whole.used_bytes, one.used_bytes, other.used_bytes) == (24 * CHUNK, 20 * CHUNK, 4 * CHUNK)
    for chunk in mine:
        one.drop(chunk)
    assert (one.used_bytes, whole.used_bytes, whole.cached, one.cached) == (0, 4 * CHUNK, 20, 0)
    assert not one.tight
    for chunk in theirs:
        other.drop(chunk)


def test_a_chunk_is_free_when_nobody_refers_to_it_any_more() -> None:
    whole = _Pool(25 * CHUNK)
    share = _Pool(0, whole)
    chunk = share.take()
    share.hold(chunk)
    share.hold(chunk)
    for _ in range(2):
        whole.drop(chunk)  # by whomever: it goes back where it was taken from
        assert (share.used_bytes, whole.used_bytes, whole.cached) == (CHUNK, CHUNK, 0)
    whole.drop(chunk)
    assert (share.used_bytes, whole.used_bytes, whole.cached) == (0, 0, 1)
    assert whole.take() == chunk
    whole.drop(chunk)
    assert (share.used_bytes, whole.used_bytes) == (0, 0), "it was the whole's own the second time"

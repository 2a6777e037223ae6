"""The faults as such; what they do to a connection is in test_peer, test_wire and test_server."""

from __future__ import annotations

import pytest

from edge_runtime.errors import ConfigError
from edge_runtime.standin.codes import Code
from edge_runtime.standin.faults import Draw, Faults
from tests.standin.harness import Machinery


def test_a_draw_says_yes_so_many_times() -> None:
    draw = Draw(count=2)
    assert draw.live
    assert [draw.hit() for _ in range(4)] == [True, True, False, False]
    assert not draw.live


def test_a_share_is_drawn_from_a_seed() -> None:
    one, same, other = (Draw(share=0.25, seed=seed) for seed in (7, 7, 8))
    first = [one.hit() for _ in range(2000)]
    assert first == [same.hit() for _ in range(2000)]
    assert first != [other.hit() for _ in range(2000)]
    assert 400 < sum(first) < 600


@pytest.mark.parametrize(("count", "share"), [(-1, 0.0), (0, 1.5), (0, -0.1)])
def test_impossible_draws(count: int, share: float) -> None:
    with pytest.raises(ConfigError, match="share from 0 to 1"):
        Draw(count, share)


def test_clear_ends_what_was_begun_and_nothing_else() -> None:
    machinery = Machinery()
    faults = Faults(machinery)
    faults.clear()
    assert machinery.calls == []
    faults.refuse()
    faults.refuse()
    faults.freeze()
    faults.delay(0.5)
    faults.lose_pubacks(3)
    faults.duplicate(share=0.5)
    faults.reject("a/#")
    faults.refuse(Code.SERVER_BUSY)
    faults.clear()
    assert machinery.calls == ["stop", "listen", "thaw"]
    assert (faults.closed, faults.frozen, faults.connack, faults.delay_s, faults.rejected) == (
        False,
        False,
        None,
        0.0,
        {},
    )
    assert not faults.lost_pubacks.live
    assert not faults.duplicates.live


def test_the_credentials_endpoint_goes_down_and_up_once() -> None:
    machinery = Machinery()
    faults = Faults(machinery)
    faults.break_credentials(503, 1.5)
    assert (faults.credentials_status, faults.credentials_s, machinery.calls) == (503, 1.5, [])
    faults.break_credentials(down=True)
    faults.break_credentials(down=True)
    faults.break_credentials()
    faults.break_credentials(down=True)
    faults.clear()
    faults.clear()
    assert machinery.calls == ["stop credentials", "resume credentials"] * 2
    assert (faults.credentials_status, faults.credentials_s, faults.credentials_down) == (0, 0.0, False)


def test_acknowledgements_are_well_again_after_clear() -> None:
    faults = Faults(Machinery())
    suffering = [faults.pubacks_suffer]
    faults.late_acks(1, 5)
    faults.wrong_acks(5)
    faults.repeat_acks(5)
    faults.fail_acks(count=5)
    faults.cut(1, 5)
    faults.reject_filter("a/#")
    suffering.append(faults.pubacks_suffer)
    assert faults.filter_rejection("a/+") == 0x87
    faults.clear()
    suffering.append(faults.pubacks_suffer)
    assert suffering == [False, True, False]
    assert (faults.rejection("a"), faults.filter_rejection("a/+"), faults.cuts.due()) == (0, 0, None)


def test_drop_and_restart_are_done_at_once() -> None:
    machinery = Machinery()
    faults = Faults(machinery)
    assert faults.drop() == 3
    faults.restart()
    faults.restart(keep_sessions=False)
    assert machinery.calls == ["drop", "forget sessions=False", "forget sessions=True"]


def test_rejections_match_as_subscriptions_do() -> None:
    faults = Faults(Machinery())
    faults.reject("up/+/bad")
    faults.reject("x", 0x99)
    assert [faults.rejection(topic) for topic in ("up/a/bad", "x", "up/a/good")] == [0x87, 0x99, 0]


def test_words_that_make_no_sense() -> None:
    faults = Faults(Machinery())
    with pytest.raises(ConfigError, match="16 is no reason code of a failure") as caught:
        faults.refuse(16)
    assert "0x89 SERVER_BUSY" in caught.value.hint
    with pytest.raises(ConfigError, match="0 is no reason code of a failure"):
        faults.reject("a", 0)
    with pytest.raises(ConfigError, match="may only be the last level"):
        faults.reject("#/a")
    with pytest.raises(ConfigError, match="cannot arrive before they are sent"):
        faults.delay(-0.1)
    with pytest.raises(ConfigError, match="cannot arrive before they are sent"):
        faults.late_acks(-1)
    with pytest.raises(ConfigError, match="0 is no reason code of a failure"):
        faults.fail_acks(0)
    with pytest.raises(ConfigError, match="after and count must be 1 or more; got 0 and 1"):
        faults.cut(0)
    with pytest.raises(ConfigError, match="200 is no HTTP status of a failure"):
        faults.break_credentials(200)
    with pytest.raises(ConfigError, match="may only be the last level"):
        faults.reject_filter("#/a")

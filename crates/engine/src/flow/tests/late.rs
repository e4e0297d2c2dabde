//! Outbound bytes that wait where they can be taken back.

use super::playbook::*;
use crate::flow::Command::*;
use crate::flow::Side::*;
use crate::flow::Way::*;

const ME: u64 = 1;

#[test]
fn what_the_kernel_is_not_given_waits_and_more_is_read_up_to_the_bound() {
    Play::late()
        .ready(Left, IN)
        .then(Append(Outbound, 200))
        .got(200)
        .then(Release(Outbound, false))
        .took(50)
        .then(Append(Outbound, 50))
        .got(20)
        .waits()
        .holds([170, 0])
        .ready(Right, OUT)
        .then(Release(Outbound, false))
        .took(170)
        .waits()
        .holds([0, 0]);
}

#[test]
fn what_is_yanked_makes_room() {
    let play = Play::late()
        .ready(Left, IN)
        .then(Append(Outbound, 200))
        .got(200)
        .then(Release(Outbound, false))
        .took(0)
        .waits();
    assert_eq!(play.outlet().yank(ME, 200).map(|taken| taken.len()), Ok(200));
    play.then(Append(Outbound, 200)).nothing().waits().holds([0, 0]);
}

#[test]
fn a_lock_holds_bytes_reads_and_the_end() {
    let play = Play::late().ready(Left, IN).then(Append(Outbound, 200)).got(10);
    let outlet = play.outlet();
    outlet.lock(ME).unwrap();
    let play = play.ready(Left, GONE).waits();
    outlet.unlock(ME).unwrap();
    play.then(Release(Outbound, false)).took(10).then(Append(Outbound, 200)).end().closes(false);
}

#[test]
fn data_and_fin_share_a_segment_where_all_goes() {
    Play::late()
        .ready(Left, GONE)
        .then(Append(Outbound, 200))
        .got(10)
        .then(Release(Outbound, true))
        .took(10)
        .closes(false);
}

#[test]
fn the_end_waits_for_what_waits() {
    Play::late()
        .ready(Left, GONE)
        .then(Append(Outbound, 200))
        .got(10)
        .then(Release(Outbound, true))
        .took(4)
        .waits()
        .ready(Right, OUT)
        .then(Release(Outbound, true))
        .took(6)
        .closes(false);
}

#[test]
fn a_reset_by_the_network_throws_away_what_waits() {
    let play = Play::late()
        .ready(Left, IN)
        .then(Append(Outbound, 200))
        .got(20)
        .then(Release(Outbound, false))
        .took(0)
        .ready(Right, FAILED)
        .then(Read(Inbound, LIMIT))
        .fails()
        .then(Shutdown(Inbound));
    assert!(play.outlet().is_empty());
}

#[test]
fn what_is_postponed_stays_in_the_pair_until_the_destination_has_room() {
    Play::late()
        .ready(Left, IN)
        .then(Append(Outbound, 200))
        .postpones()
        .wants_room(Right, true)
        .waits()
        .ready(Left, IN)
        .waits()
        .ready(Right, OUT)
        .then(Append(Outbound, 200))
        .got(20)
        .then(Release(Outbound, false))
        .took(20)
        .wants_room(Right, false)
        .waits();
}

#[test]
fn what_is_postponed_is_read_when_the_driver_has_waited_long_enough() {
    let mut play = Play::late().ready(Left, IN).then(Append(Outbound, 200)).postpones().waits();
    play.flow.read_on(Outbound);
    play.then(Append(Outbound, 200)).got(30).waits().holds([30, 0]);
}

#[test]
fn what_is_postponed_is_sent_before_the_end_even_if_the_application_has_gone() {
    Play::late()
        .ready(Left, GONE)
        .then(Append(Outbound, 200))
        .postpones()
        .waits()
        .ready(Right, OUT)
        .then(Append(Outbound, 200))
        .got(10)
        .then(Release(Outbound, true))
        .took(10)
        .closes(false);
}

#[test]
fn under_a_lock_no_room_is_asked_for_what_is_postponed() {
    let play = Play::late().ready(Left, IN).then(Append(Outbound, 200)).postpones();
    let outlet = play.outlet();
    outlet.lock(ME).unwrap();
    let play = play.waits().wants_room(Right, false);
    outlet.unlock(ME).unwrap();
    play.wants_room(Right, true).waits();
}

#[test]
fn what_is_postponed_when_the_network_resets_is_thrown_away() {
    Play::late()
        .ready(Left, IN)
        .then(Append(Outbound, 200))
        .postpones()
        .ready(Right, FAILED)
        .then(Read(Inbound, LIMIT))
        .fails()
        .then(Read(Outbound, LIMIT))
        .got(5)
        .then(Shutdown(Inbound))
        .holds([0, 0]);
}

#[test]
fn a_limit_sets_no_timer_for_what_is_postponed() {
    Play::late()
        .limit(Outbound, Some((1000.0, 50)))
        .ready(Left, IN)
        .then(Append(Outbound, 50))
        .postpones()
        .waits()
        .timer(None);
}

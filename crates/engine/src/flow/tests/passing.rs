//! Bytes that pass: order, back-pressure, turns.

use super::playbook::*;
use crate::flow::Command::*;
use crate::flow::Side::*;
use crate::flow::Way::*;
use crate::flow::{Ready, Side, Way};

/// Both ways are the same code: every test here runs for both.
fn both(test: impl Fn(Way, Side, Side, fn(usize) -> [usize; 2])) {
    test(Outbound, Left, Right, |count| [count, 0]);
    test(Inbound, Right, Left, |count| [0, count]);
}

#[test]
fn a_new_flow_waits() {
    Play::plain().waits().holds([0, 0]).timer(None);
}

#[test]
fn a_short_read_is_the_last_until_the_next_event() {
    both(|way, source, _, _| {
        Play::plain()
            .ready(source, IN)
            .moves(way, 1)
            .waits()
            .ready(source, IN)
            .then(Read(way, LIMIT))
            .nothing()
            .waits();
    });
}

#[test]
fn a_full_read_is_followed_by_another() {
    both(|way, source, _, _| {
        Play::plain().ready(source, IN).moves(way, LIMIT).then(Read(way, LIMIT)).nothing().waits();
    });
}

#[test]
fn one_read_waits_at_most_and_the_source_is_not_read_meanwhile() {
    both(|way, source, destination, queued| {
        Play::plain()
            .ready(source, IN)
            .then(Read(way, LIMIT))
            .got(LIMIT)
            .then(Send(way, false))
            .took(0)
            .waits()
            .holds(queued(LIMIT))
            .ready(source, IN)
            .waits()
            .ready(destination, OUT)
            .then(Flush(way, false))
            .took(LIMIT - 1)
            .waits()
            .holds(queued(1))
            .ready(destination, OUT)
            .then(Flush(way, false))
            .took(1)
            .holds([0, 0])
            .moves(way, 2)
            .waits();
    });
}

#[test]
fn one_way_that_is_held_up_does_not_hold_up_the_other() {
    both(|way, source, destination, queued| {
        let other = Way::to(source);
        Play::plain()
            .ready(source, IN)
            .then(Read(way, LIMIT))
            .got(9)
            .then(Send(way, false))
            .took(0)
            .waits()
            .ready(destination, IN)
            .moves(other, 4)
            .waits()
            .holds(queued(9));
    });
}

#[test]
fn an_end_behind_data_that_waits_is_told_after_the_data() {
    both(|way, source, destination, queued| {
        Play::plain()
            .ready(source, HALF)
            .then(Read(way, LIMIT))
            .got(10)
            .then(Send(way, false))
            .took(4)
            .waits()
            .holds(queued(6))
            .ready(destination, OUT)
            .then(Flush(way, false))
            .took(6)
            .then(Shutdown(way))
            .waits();
    });
}

#[test]
fn a_full_read_before_the_end_is_not_the_end() {
    both(|way, source, _, _| {
        Play::plain()
            .ready(source, HALF)
            .moves(way, LIMIT)
            .then(Read(way, LIMIT))
            .end()
            .then(Shutdown(way))
            .waits();
    });
}

#[test]
fn two_busy_ways_take_turns() {
    // An application that sends without pause must still hear the peer say stop.
    let mut play = Play::plain().ready(Left, IN).ready(Right, IN);
    for _ in 0..3 {
        for way in Way::BOTH {
            play = play.moves(way, LIMIT);
        }
    }
}

#[test]
fn an_event_that_says_nothing_changes_nothing() {
    both(|_, source, _, _| {
        Play::plain().ready(source, Ready::default()).waits().holds([0, 0]);
    });
}

#[test]
fn bytes_read_are_counted_by_way() {
    let play = Play::plain().ready(Left, IN).moves(Outbound, 3);
    let play = play.ready(Right, IN).then(Read(Inbound, LIMIT)).got(LIMIT).then(Send(Inbound, false)).took(1);
    assert_eq!(play.waits().flow.bytes(), [3, 100]);
}

#[test]
fn a_read_that_urgent_data_cut_short_is_not_the_last() {
    let one = |play: Play, count| play.moves(Inbound, count);
    let play =
        one(one(Play::plain().ready(Right, URGENT), 3), 5).then(Read(Inbound, LIMIT)).nothing().waits();
    // And no longer than that.
    let play = one(play.ready(Right, IN), 7).waits();
    // Nor is it the end.
    let play = one(one(play.ready(Right, Ready { half: true, ..URGENT }), 3), 5);
    play.then(Read(Inbound, LIMIT)).end().then(Shutdown(Inbound)).waits();
}

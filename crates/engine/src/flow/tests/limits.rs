//! Limited ways: what passes when, and when somebody must be woken.

use super::playbook::*;
use crate::flow::Command::*;
use crate::flow::Side::*;
use crate::flow::Way::*;

/// Nanoseconds that ten bytes take at a thousand a second.
const TEN: u64 = 10_000_000;
/// A thousand bytes a second, ten at once.
const SLOW: Option<(f64, u32)> = Some((1000.0, 10));

#[test]
fn a_burst_passes_and_then_the_timer_is_waited_for() {
    Play::plain()
        .limit(Inbound, SLOW)
        .timer(None)
        .ready(Right, IN)
        .then(Read(Inbound, 10))
        .got(10)
        .then(Send(Inbound, false))
        .took(10)
        .waits()
        .timer(Some(TEN))
        .at(TEN - 1000)
        .waits()
        .at(TEN)
        .then(Read(Inbound, 10))
        .got(4)
        .then(Send(Inbound, false))
        .took(4)
        .waits()
        .timer(None);
}

#[test]
fn no_timer_runs_while_the_destination_holds_the_way_up() {
    Play::plain()
        .limit(Outbound, SLOW)
        .ready(Left, IN)
        .then(Read(Outbound, 10))
        .got(10)
        .then(Send(Outbound, false))
        .took(3)
        .waits()
        .timer(None)
        .ready(Right, OUT)
        .then(Flush(Outbound, false))
        .took(7)
        .waits()
        .timer(Some(TEN));
}

#[test]
fn no_timer_runs_for_an_application_that_has_gone() {
    Play::plain()
        .limit(Inbound, SLOW)
        .limit(Outbound, SLOW)
        .ready(Right, IN)
        .then(Read(Inbound, 10))
        .got(10)
        .then(Send(Inbound, false))
        .took(10)
        .waits()
        .timer(Some(TEN))
        .ready(Left, GONE)
        // Whether something is left unread, or the limit stopped behind a full read, only a look can tell.
        .then(Read(Inbound, 1))
        .nothing()
        .then(Read(Outbound, 10))
        .got(10)
        .then(Send(Outbound, false))
        .took(10)
        .waits()
        // What the application wrote is still held back: the timer is that of its way alone.
        .timer(Some(TEN))
        .at(TEN)
        .then(Read(Outbound, 10))
        .end()
        .timer(None)
        .closes(false);
}

#[test]
fn no_timer_runs_after_the_end() {
    Play::plain()
        .limit(Inbound, SLOW)
        .ready(Right, HALF)
        .then(Read(Inbound, 10))
        .got(9)
        .then(Send(Inbound, false))
        .took(9)
        .then(Shutdown(Inbound))
        .waits()
        .timer(None);
}

#[test]
fn a_limit_that_is_lifted_holds_nothing_back() {
    Play::plain()
        .limit(Outbound, SLOW)
        .ready(Left, IN)
        .then(Read(Outbound, 10))
        .got(10)
        .then(Send(Outbound, false))
        .took(10)
        .waits()
        .limit(Outbound, None)
        .timer(None)
        .then(Read(Outbound, LIMIT))
        .nothing()
        .waits();
}

#[test]
fn one_ways_limit_is_not_the_others() {
    let play =
        Play::plain().limit(Outbound, SLOW).ready(Right, IN).then(Read(Inbound, LIMIT)).nothing().waits();
    assert!(play.flow.is_limited());
    assert!(!play.limit(Outbound, None).flow.is_limited());
}

#[test]
fn bytes_for_nobody_are_read_without_a_limit() {
    // The network has reset: what the application still writes is thrown away at once.
    Play::plain()
        .limit(Outbound, SLOW)
        .ready(Left, IN)
        .then(Read(Outbound, 10))
        .got(10)
        .then(Send(Outbound, false))
        .fails()
        .then(Read(Inbound, LIMIT))
        .got(LIMIT)
        .then(Send(Inbound, false))
        .took(0)
        .then(Read(Outbound, LIMIT))
        .got(LIMIT)
        .then(Read(Outbound, LIMIT))
        .nothing()
        .waits()
        .timer(None);
}

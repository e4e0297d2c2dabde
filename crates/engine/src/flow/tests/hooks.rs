//! What a module's hooks do to a flow.

use super::playbook::*;
use crate::flow::Command::*;
use crate::flow::Hooked;
use crate::flow::Side::*;
use crate::flow::Way::*;

/// Hooks on everything.
fn all() -> Play {
    Play::of(Hooked { data: [true; 2], end: [true; 2] }, true)
}

#[test]
fn a_hook_sees_what_was_read_and_its_bytes_are_sent() {
    Play::hooked()
        .ready(Left, IN)
        .then(Read(Outbound, LIMIT))
        .got(5)
        .then(Hook(Outbound))
        .makes(12)
        .then(Send(Outbound, false))
        .took(12)
        .waits();
}

#[test]
fn what_a_hook_makes_may_be_more_than_a_read_and_holds_the_source_up() {
    Play::hooked()
        .ready(Right, IN)
        .then(Read(Inbound, LIMIT))
        .got(LIMIT)
        .then(Hook(Inbound))
        .makes(3 * LIMIT)
        .then(Send(Inbound, false))
        .took(LIMIT)
        .waits()
        .holds([0, 2 * LIMIT])
        .ready(Left, OUT)
        .then(Flush(Inbound, false))
        .took(2 * LIMIT)
        .then(Read(Inbound, LIMIT))
        .nothing()
        .waits();
}

#[test]
fn bytes_that_a_hook_keeps_are_not_sent() {
    Play::hooked()
        .ready(Left, IN)
        .then(Read(Outbound, LIMIT))
        .got(LIMIT)
        .then(Hook(Outbound))
        .makes(0)
        .then(Read(Outbound, LIMIT))
        .got(2)
        .then(Hook(Outbound))
        .makes(102)
        .then(Send(Outbound, false))
        .took(102)
        .waits();
}

#[test]
fn last_bytes_come_between_the_data_and_the_end() {
    all()
        .ready(Right, HALF)
        .then(Read(Inbound, LIMIT))
        .got(5)
        .then(Hook(Inbound))
        .makes(0)
        .then(HookEnd(Inbound))
        .adds(7)
        .then(Flush(Inbound, false))
        .took(7)
        .then(Shutdown(Inbound))
        .waits();
}

#[test]
fn the_end_is_not_told_to_a_hook_before_what_waits_has_gone() {
    all()
        .ready(Left, HALF)
        .then(Read(Outbound, LIMIT))
        .got(5)
        .then(Hook(Outbound))
        .makes(5)
        .then(Send(Outbound, false))
        .took(1)
        .waits()
        .ready(Right, OUT)
        .then(Flush(Outbound, false))
        .took(4)
        .then(HookEnd(Outbound))
        .adds(0)
        .then(Shutdown(Outbound))
        .waits();
}

#[test]
fn last_bytes_and_not_the_data_are_joined_with_the_fin() {
    all()
        .ready(Left, GONE)
        .then(Read(Outbound, LIMIT))
        .got(5)
        .then(Hook(Outbound))
        .makes(5)
        .then(Send(Outbound, false))
        .took(5)
        .then(HookEnd(Outbound))
        .adds(6)
        .then(Flush(Outbound, true))
        .took(6)
        .closes(false);
}

#[test]
fn an_end_without_data_is_told_to_the_hook() {
    all().ready(Left, GONE).then(Read(Outbound, LIMIT)).end().then(HookEnd(Outbound)).adds(0).closes(false);
}

#[test]
fn an_application_that_has_gone_hears_no_last_bytes() {
    all()
        .ready(Right, HALF)
        .ready(Left, GONE)
        .then(Read(Inbound, 1))
        .end()
        .then(Read(Outbound, LIMIT))
        .end()
        .then(HookEnd(Outbound))
        .adds(0)
        .closes(false);
}

#[test]
fn a_way_given_back_is_native_from_the_next_byte_on() {
    all()
        .ready(Left, IN)
        .then(Read(Outbound, LIMIT))
        .got(LIMIT)
        .then(Hook(Outbound))
        .forward(Outbound)
        .makes(3)
        .then(Send(Outbound, false))
        .took(3)
        .moves(Outbound, 2)
        .ready(Left, HALF)
        .then(Read(Outbound, LIMIT))
        .end()
        .then(Shutdown(Outbound))
        // The other way keeps its hooks.
        .ready(Right, IN)
        .then(Read(Inbound, LIMIT))
        .got(2)
        .then(Hook(Inbound))
        .makes(2)
        .then(Send(Inbound, false))
        .took(2)
        .waits();
}

#[test]
fn a_failed_hook_lets_its_bytes_and_all_others_pass() {
    // What the driver does where a failure does not reset: both ways are given back, the bytes stay as they are.
    all()
        .ready(Left, IN)
        .ready(Right, IN)
        .then(Read(Outbound, LIMIT))
        .got(5)
        .then(Hook(Outbound))
        .forward(Outbound)
        .forward(Inbound)
        .makes(5)
        .then(Send(Outbound, false))
        .took(5)
        .moves(Inbound, 6)
        .waits();
}

#[test]
fn a_reset_comes_before_everything_else() {
    Play::plain().reset().closes(true);
    all()
        .ready(Left, IN)
        .then(Read(Outbound, LIMIT))
        .got(5)
        .then(Hook(Outbound))
        .reset()
        .makes(5)
        .closes(true);
    all()
        .ready(Left, GONE)
        .then(Read(Outbound, LIMIT))
        .end()
        .then(HookEnd(Outbound))
        .reset()
        .adds(5)
        .closes(true);
}

#[test]
fn bytes_in_hand_are_sent_before_the_other_way_is_read() {
    // The driver has one hand. Lifting the other way's limit makes that way readable in the middle of a hook.
    all()
        .limit(Outbound, Some((1000.0, 10)))
        .ready(Left, IN)
        .then(Read(Outbound, 10))
        .got(10)
        .then(Hook(Outbound))
        .makes(10)
        .then(Send(Outbound, false))
        .took(10)
        .waits()
        .ready(Right, IN)
        .then(Read(Inbound, LIMIT))
        .got(4)
        .then(Hook(Inbound))
        .limit(Outbound, None)
        .makes(4)
        .then(Send(Inbound, false))
        .took(4)
        .then(Read(Outbound, LIMIT))
        .got(1)
        .then(Hook(Outbound))
        .makes(1)
        .then(Send(Outbound, false))
        .took(1)
        .waits();
}

#[test]
fn bytes_that_the_module_skips_pass_the_hook_by_and_no_more_are_read_at_once() {
    let limit = u64::try_from(LIMIT).unwrap();
    let mut play = all()
        .ready(Left, IN)
        .then(Read(Outbound, LIMIT))
        .got(LIMIT)
        .then(Hook(Outbound))
        .skip(Outbound, limit + 5)
        .makes(LIMIT)
        .then(Send(Outbound, false))
        .took(LIMIT);
    assert!(play.flow.is_native(Outbound) && !play.flow.is_native(Inbound));
    play = play.moves(Outbound, LIMIT).then(Read(Outbound, 5)).got(5).then(Send(Outbound, false)).took(5);
    assert!(!play.flow.is_native(Outbound));
    play.then(Read(Outbound, LIMIT))
        .got(3)
        .then(Hook(Outbound))
        .makes(3)
        .then(Send(Outbound, false))
        .took(3)
        .waits();
}

#[test]
fn a_source_that_ends_before_what_is_skipped_does_ends_as_any() {
    all()
        .skip(Outbound, 50)
        .ready(Left, HALF)
        .then(Read(Outbound, 50))
        .got(20)
        .then(Send(Outbound, false))
        .took(20)
        .then(HookEnd(Outbound))
        .adds(0)
        .then(Shutdown(Outbound))
        .waits();
}

#[test]
fn what_a_hook_has_unasked_waits_behind_what_waits_and_goes_nowhere_after_the_end() {
    all()
        .comes_by(Outbound, 7)
        .then(Flush(Outbound, false))
        .took(3)
        .comes_by(Outbound, 2)
        .waits()
        .ready(Right, OUT)
        .then(Flush(Outbound, false))
        .took(6)
        .ready(Left, HALF)
        .then(Read(Outbound, LIMIT))
        .end()
        .then(HookEnd(Outbound))
        .adds(0)
        .then(Shutdown(Outbound))
        .comes_by(Outbound, 2)
        .waits()
        .holds([0, 0]);
}

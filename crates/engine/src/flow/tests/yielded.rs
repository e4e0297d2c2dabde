//! Flows whose neighbours change, and flows that come along with bytes.

use super::playbook::*;
use crate::flow::Command::*;
use crate::flow::Side::*;
use crate::flow::Way::*;

#[test]
fn what_was_in_hand_goes_to_the_new_neighbour_and_its_socket_is_looked_at_anew() {
    Play::hooked()
        .ready(Left, IN)
        .then(Read(Outbound, LIMIT))
        .got(LIMIT)
        .then(Hook(Outbound))
        .replaced(Left)
        .makes(7)
        .then(Send(Outbound, false))
        .took(7)
        // The former socket may have had more; it is not this flow's to read.
        .waits()
        .ready(Left, IN)
        .then(Read(Outbound, LIMIT));
}

#[test]
fn a_full_neighbour_makes_room_for_one_that_is_empty() {
    Play::plain()
        .ready(Left, IN)
        .then(Read(Outbound, LIMIT))
        .got(50)
        .then(Send(Outbound, false))
        .took(20)
        .holds([30, 0])
        .replaced(Right)
        .then(Flush(Outbound, false))
        .took(30)
        .waits();
}

#[test]
fn a_close_that_was_seen_on_the_former_socket_is_seen_again_on_the_new_one() {
    Play::hooked()
        .ready(Left, FAILED)
        .then(Read(Outbound, LIMIT))
        .got(LIMIT)
        .then(Hook(Outbound))
        .replaced(Left)
        .makes(7)
        .then(Send(Outbound, false))
        .took(7)
        .waits()
        .ready(Left, GONE)
        .then(Read(Outbound, LIMIT))
        .end()
        .closes(false);
}

#[test]
fn an_end_that_was_passed_on_stays_so() {
    Play::plain()
        .ready(Left, HALF)
        .then(Read(Outbound, LIMIT))
        .end()
        .then(Shutdown(Outbound))
        .replaced(Right)
        .waits()
        .ready(Right, GONE)
        .moves(Inbound, 5)
        .then(Shutdown(Inbound))
        .closes(false);
}

#[test]
fn the_end_is_not_joined_with_the_last_bytes_where_right_is_no_longer_the_real_socket() {
    Play::plain().replaced(Right).ready(Left, GONE).moves(Outbound, 7).closes(false);
}

#[test]
fn bytes_that_come_along_go_before_those_that_are_read() {
    Play::plain()
        .passes(Outbound, 5)
        .passes(Inbound, 3)
        .ready(Left, IN)
        .ready(Right, IN)
        .then(Flush(Outbound, false))
        .took(5)
        .then(Read(Outbound, LIMIT))
        .nothing()
        .then(Flush(Inbound, false))
        .took(3)
        .then(Read(Inbound, LIMIT))
        .nothing()
        .waits();
}

#[test]
fn bytes_for_an_application_that_has_gone_make_its_close_a_reset() {
    Play::plain().passes(Inbound, 3).ready(Left, GONE).then(Read(Outbound, LIMIT)).end().closes(true);
}

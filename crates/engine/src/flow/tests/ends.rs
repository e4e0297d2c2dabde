//! How a flow ends: half-closes, closes and resets from either side.

use super::playbook::*;
use crate::flow::Command::*;
use crate::flow::Side::*;
use crate::flow::Way::*;

#[test]
fn the_applications_half_close_goes_on_and_the_answer_still_comes_back() {
    Play::plain()
        .ready(Left, HALF)
        .moves(Outbound, 7)
        .then(Shutdown(Outbound))
        .waits()
        .ready(Right, IN)
        .moves(Inbound, 5)
        .waits()
        .ready(Right, GONE)
        .then(Read(Inbound, LIMIT))
        .end()
        .then(Shutdown(Inbound))
        .closes(false);
}

#[test]
fn the_networks_half_close_goes_on_and_the_application_still_sends() {
    Play::plain()
        .ready(Right, HALF)
        .moves(Inbound, 7)
        .then(Shutdown(Inbound))
        .waits()
        .ready(Left, IN)
        .moves(Outbound, 5)
        .waits()
        // Our own half is closed, so the end of the other one is a hang-up.
        .ready(Left, GONE)
        .then(Read(Outbound, LIMIT))
        .end()
        .closes(false);
}

#[test]
fn an_end_without_the_half_close_event_is_found_by_reading() {
    Play::plain()
        .ready(Right, IN)
        .then(Read(Inbound, LIMIT))
        .end()
        .then(Shutdown(Inbound))
        .waits()
        .ready(Left, IN)
        .then(Read(Outbound, LIMIT))
        .end()
        .then(Shutdown(Outbound))
        .closes(false);
}

#[test]
fn a_flow_without_bytes_closes_at_once() {
    Play::plain().ready(Left, GONE).then(Read(Outbound, LIMIT)).end().closes(false);
}

#[test]
fn data_and_fin_are_joined_when_the_application_has_closed() {
    Play::plain()
        .ready(Left, GONE)
        .then(Read(Outbound, LIMIT))
        .got(9)
        .then(Send(Outbound, true))
        .took(9)
        .closes(false);
}

#[test]
fn only_the_last_of_many_reads_is_joined_with_the_fin() {
    Play::plain()
        .ready(Left, GONE)
        .moves(Outbound, LIMIT)
        .then(Read(Outbound, LIMIT))
        .got(3)
        .then(Send(Outbound, true))
        .took(3)
        .closes(false);
}

#[test]
fn what_waits_after_the_close_is_sent_first_and_joined() {
    Play::plain()
        .ready(Left, GONE)
        .then(Read(Outbound, LIMIT))
        .got(90)
        .then(Send(Outbound, true))
        .took(10)
        .waits()
        .holds([80, 0])
        .ready(Right, OUT)
        .then(Flush(Outbound, true))
        .took(30)
        .waits()
        .holds([50, 0])
        .ready(Right, OUT)
        .then(Flush(Outbound, true))
        .took(50)
        .closes(false);
}

#[test]
fn nothing_is_joined_towards_a_next_module() {
    Play::chained().ready(Left, GONE).moves(Outbound, 9).closes(false);
}

#[test]
fn an_application_that_left_bytes_unread_is_a_reset() {
    Play::plain().ready(Left, FAILED).then(Read(Outbound, LIMIT)).fails().closes(true);
}

#[test]
fn an_application_that_wrote_and_left_bytes_unread_is_a_reset_after_what_it_wrote() {
    // The short read after the hang-up is the last call on left: the error is known from the event only.
    Play::plain().ready(Left, FAILED).moves(Outbound, 9).closes(true);
}

#[test]
fn bytes_that_the_application_will_never_get_make_its_close_a_reset() {
    Play::plain()
        .ready(Right, IN)
        .then(Read(Inbound, LIMIT))
        .got(50)
        .then(Send(Inbound, false))
        .took(20)
        .waits()
        .holds([0, 30])
        .ready(Left, GONE)
        .then(Read(Outbound, LIMIT))
        .end()
        .closes(true);
}

#[test]
fn bytes_that_came_before_the_close_and_were_not_read_from_the_network_make_it_a_reset() {
    Play::plain()
        .ready(Right, IN)
        .ready(Left, GONE)
        .then(Read(Inbound, 1))
        .got(1)
        .moves(Outbound, 4)
        .closes(true);
}

#[test]
fn a_fin_that_was_not_read_is_no_unread_byte() {
    Play::plain()
        .ready(Right, HALF)
        .ready(Left, GONE)
        .then(Read(Inbound, 1))
        .end()
        .then(Read(Outbound, LIMIT))
        .got(4)
        .then(Send(Outbound, true))
        .took(4)
        .closes(false);
}

#[test]
fn bytes_before_a_fin_that_were_not_read_make_the_close_a_reset() {
    Play::plain()
        .ready(Right, HALF)
        .ready(Left, GONE)
        .then(Read(Inbound, 1))
        .got(1)
        .then(Read(Outbound, LIMIT))
        .end()
        .closes(true);
}

#[test]
fn a_send_to_an_application_that_has_closed_is_a_reset_and_what_it_wrote_goes_on() {
    Play::plain()
        .ready(Right, IN)
        .then(Read(Inbound, LIMIT))
        .got(5)
        .then(Send(Inbound, false))
        .fails()
        .waits()
        .ready(Left, GONE)
        .moves(Outbound, 8)
        .closes(true);
}

#[test]
fn an_application_that_reads_no_more_may_still_send() {
    // shutdown(SHUT_RD) is only seen by sending.
    Play::plain()
        .ready(Right, IN)
        .then(Read(Inbound, LIMIT))
        .got(LIMIT)
        .then(Send(Inbound, false))
        .fails()
        // What comes in goes nowhere, and does not hold the network up.
        .then(Read(Inbound, LIMIT))
        .got(60)
        .waits()
        .ready(Left, IN)
        .moves(Outbound, 8)
        .waits()
        .ready(Right, HALF)
        .then(Read(Inbound, LIMIT))
        .end()
        // There is nobody to be told of the end.
        .waits()
        .ready(Left, HALF)
        .then(Read(Outbound, LIMIT))
        .end()
        .then(Shutdown(Outbound))
        .closes(false);
}

#[test]
fn a_reset_of_the_network_closes_left_after_what_had_come_in() {
    Play::plain()
        .ready(Right, FAILED)
        .then(Read(Inbound, LIMIT))
        .got(LIMIT)
        .then(Send(Inbound, false))
        .took(40)
        .waits()
        .holds([0, 60])
        .ready(Left, OUT)
        .then(Flush(Inbound, false))
        .took(60)
        .then(Read(Inbound, LIMIT))
        .fails()
        .then(Shutdown(Inbound))
        .closes(false);
}

#[test]
fn a_reset_behind_a_short_read_is_not_taken_for_a_half_close() {
    // The application is idle: nothing will be sent that could fail, so the event alone must end the flow.
    Play::plain().ready(Right, FAILED).moves(Inbound, 6).then(Shutdown(Inbound)).closes(false);
}

#[test]
fn a_reset_after_the_networks_half_close_ends_an_idle_flow() {
    Play::plain()
        .ready(Right, HALF)
        .then(Read(Inbound, LIMIT))
        .end()
        .then(Shutdown(Inbound))
        .waits()
        .ready(Right, FAILED)
        .closes(false);
}

#[test]
fn a_reset_with_bytes_on_their_way_out_throws_them_away() {
    Play::plain()
        .ready(Left, IN)
        .then(Read(Outbound, LIMIT))
        .got(50)
        .then(Send(Outbound, false))
        .took(10)
        .waits()
        .ready(Right, FAILED)
        .then(Read(Inbound, LIMIT))
        .fails()
        .then(Shutdown(Inbound))
        .closes(false);
}

#[test]
fn a_send_that_finds_the_network_broken_still_delivers_what_had_come_in() {
    Play::plain()
        .ready(Left, IN)
        .then(Read(Outbound, LIMIT))
        .got(50)
        .then(Send(Outbound, false))
        .fails()
        .moves(Inbound, 5)
        .waits()
        .ready(Right, FAILED)
        .then(Read(Inbound, LIMIT))
        .end()
        .then(Shutdown(Inbound))
        .closes(false);
}

#[test]
fn when_both_are_gone_nothing_is_waited_for() {
    Play::plain()
        .ready(Left, IN)
        .then(Read(Outbound, LIMIT))
        .got(50)
        .then(Send(Outbound, false))
        .took(10)
        .waits()
        .ready(Left, GONE)
        .waits()
        .ready(Right, FAILED)
        .then(Read(Inbound, 1))
        .fails()
        .then(Read(Outbound, LIMIT))
        .end()
        .closes(false);
}

#[test]
fn a_next_module_that_has_gone_ends_the_flow_after_what_it_had_sent() {
    Play::chained().ready(Right, GONE).moves(Inbound, 5).then(Shutdown(Inbound)).closes(false);
}

#[test]
fn a_next_module_that_has_gone_gets_nothing_more() {
    Play::chained()
        .ready(Left, IN)
        .ready(Right, FAILED)
        // What the application writes is read, so that it does not wait, and thrown away.
        .then(Read(Outbound, LIMIT))
        .got(9)
        .then(Read(Inbound, LIMIT))
        .got(5)
        .then(Send(Inbound, false))
        .took(2)
        .waits()
        .ready(Left, OUT)
        .then(Flush(Inbound, false))
        .took(3)
        .then(Shutdown(Inbound))
        .closes(false);
}

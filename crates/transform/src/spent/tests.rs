//! What is told of a body of which a part was timed, beside what it took.

use std::time::Duration;

use super::Spent;

const NS: f64 = 2.0;
const COLD: f64 = 10.0;

/// A body whose pieces come in turns, of each of which the first is `COLD` times as dear: seconds as they were, and as told.
fn body(chance: u32, pieces: usize, length: usize, turn: usize) -> (f64, f64) {
    let (mut spent, mut all) = (Spent::new(chance), 0.0);
    for number in 0..pieces {
        let dear = if number % turn == 0 { COLD } else { 1.0 };
        #[allow(clippy::cast_precision_loss)]
        let took = Duration::from_secs_f64(length as f64 * NS * dear * 1e-9);
        all += took.as_secs_f64();
        if spent.is_timed(length) {
            spent.took(length, took, 2 * took);
        }
    }
    (all, spent.turn().0)
}

#[test]
fn what_comes_after_a_pause_counts_as_often_as_it_comes() {
    for (length, turn) in [(8192, 32), (8192, 8), (65536, 4), (4096, 64)] {
        let (mut all, mut told) = (0.0, 0.0);
        for number in 0..200_u32 {
            let (was, said) = body(number.wrapping_mul(0x0131_071B), 3_000_000 / length, length, turn);
            all += was;
            told += said;
        }
        assert!((told / all - 1.0).abs() < 0.15, "{length} {turn}: {}", told / all);
    }
}

#[test]
fn most_pieces_are_not_timed() {
    let (mut spent, mut timed) = (Spent::new(1), 0);
    for _ in 0..1000 {
        if spent.is_timed(8192) {
            spent.took(8192, Duration::from_micros(12), Duration::from_micros(12));
            timed += 1;
        }
    }
    assert!((10..=40).contains(&timed), "{timed}");
}

#[test]
fn a_stretch_is_told_as_a_whole_though_a_part_was_timed() {
    let mut spent = Spent::new(7);
    for number in 0..64 {
        if spent.is_timed(8192) {
            spent.took(8192, Duration::from_micros(10), Duration::from_micros(30));
        }
        assert!(number < 16 || spent.worked() > 0.0);
    }
    let (seconds, elapsed) = spent.turn();
    assert!((seconds - 64.0 * 10e-6).abs() < 1e-9, "{seconds}");
    assert!((elapsed - 64.0 * 30e-6).abs() < 1e-9, "{elapsed}");
    assert!(spent.worked() == 0.0 && spent.turn() == (seconds, elapsed));
}

#[test]
fn a_stretch_without_a_timed_piece_adds_nothing() {
    let mut spent = Spent::new(7);
    assert!(!spent.is_timed(1000));
    assert!(spent.turn() == (0.0, 0.0));
}

#[test]
fn who_asks_at_every_piece_is_told_too() {
    let mut spent = Spent::new(3);
    for _ in 0..1000 {
        spent.turn();
        if spent.is_timed(8192) {
            spent.took(8192, Duration::from_micros(10), Duration::from_micros(10));
        }
    }
    let (seconds, _) = spent.turn();
    assert!((100e-6..300e-6).contains(&seconds), "{seconds}");
}

//! The segment size that a rebuilt connection connects with.

use super::super::options::Window;
use super::*;

fn snapshot(peer_mss: u32, snd_mss: u32, max_window: u32, negotiated: u8) -> Snapshot {
    Snapshot {
        peer_mss,
        snd_mss,
        negotiated: negotiated.into(),
        window: Window { max_window, ..Window::default() },
        ..super::super::testing::snapshot()
    }
}

#[test]
fn a_segment_is_as_large_as_it_was_with_its_options() {
    assert_eq!(segment(&snapshot(1460, 1448, 1 << 20, negotiated::TIMESTAMPS)), 1460);
    assert_eq!(segment(&snapshot(1460, 1460, 1 << 20, 0)), 1460);
    assert_eq!(segment(&snapshot(1460, 1388, 1 << 20, negotiated::TIMESTAMPS)), 1400, "a narrow path");
}

#[test]
fn it_is_at_most_half_of_the_largest_window() {
    assert_eq!(segment(&snapshot(1460, 1460, 2000, 0)), 1000);
    assert_eq!(segment(&snapshot(1460, 1460, 536, 0)), 536);
}

#[test]
fn it_is_what_the_kernel_takes() {
    assert_eq!(segment(&snapshot(65495, 65483, 1 << 20, negotiated::TIMESTAMPS)), 32767);
    assert_eq!(segment(&snapshot(40, 40, 1 << 20, 0)), 88);
}

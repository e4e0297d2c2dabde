//! Somebody at the left takes bytes back of a module with hooks.

use super::*;
use crate::revoke::peer;

/// Behind `head` come a hundred bytes that it does not look at. What it has seen goes to the test.
struct Skips(Sender<Vec<u8>>);

impl Hooks for Skips {
    fn wants(&self) -> Wants {
        Wants { data: [true, false], yank_requested: true, ..Wants::default() }
    }
    fn data(
        &self,
        _: &mut OfFlow,
        way: Way,
        data: &[u8],
        _: [u64; 2],
        _: &mut Vec<u8>,
        orders: &mut Orders,
    ) -> Verdict {
        orders.skip[way as usize] = (data == b"head").then_some(100);
        self.0.send(data.to_vec()).unwrap();
        Verdict::Same
    }
}

#[test]
fn what_a_hook_does_not_look_at_it_is_not_shown_after_a_yank_and_what_was_taken_is_none_of_it() {
    for taken in [0, 10] {
        let (sees, seen) = channel();
        let running = Running::start_with(1 << 16, None, Arc::new(Skips(sees)));
        let (mut application, mut network) = running.connect();
        let ino = peer::of(peer::inode(application.as_fd()).unwrap()).unwrap();
        let take = || {
            let (answer, found) = channel();
            running.module.tell(Order::Yank(Ask::Take { ino, session: 7, length: 10, answer }));
            match found.recv_timeout(PATIENCE).unwrap() {
                Some(Ok(Found::Ready(flow, bytes))) => (flow, bytes),
                _ => panic!("it has them all"),
            }
        };
        application.write_all(b"head").unwrap();
        network.read_exact(&mut [0; 4]).unwrap();
        take();
        let body = pattern(100);
        application.write_all(&body).unwrap();
        let (flow, last) = take();
        assert_eq!(last, body[90..]);
        running.module.tell(Order::Yank(Ask::Settle { flow, session: 7, taken, hold: false }));
        application.write_all(&body[100 - taken..]).unwrap();
        let mut got = [0; 100];
        network.read_exact(&mut got).unwrap();
        assert_eq!(got[..], body, "{taken}");
        application.write_all(b"next").unwrap();
        network.read_exact(&mut [0; 4]).unwrap();
        drop((application, network));
        running.end();
        assert_eq!(seen.iter().collect::<Vec<_>>(), [b"head", b"next"], "{taken}");
    }
}

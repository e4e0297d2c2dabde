//! Structs found in made-up bytes, in the running kernel's, and in none.

use super::*;

/// `int`, then `struct pair { int first; int second; }`.
fn made_up() -> Vec<u8> {
    let strings = b"\0int\0pair\0first\0second\0";
    let types: Vec<u32> =
        [[1, 1 << 24, 4, 32].to_vec(), [5, STRUCT << 24 | 2, 8].to_vec(), [10, 1, 0, 16, 1, 32].to_vec()]
            .concat();
    let types: Vec<u8> = types.into_iter().flat_map(u32::to_ne_bytes).collect();
    let (length, more) = (types.len() as u32, strings.len() as u32);
    let header: Vec<u8> = [24, 0, length, length, more].into_iter().flat_map(u32::to_ne_bytes).collect();
    [&MAGIC.to_ne_bytes()[..], &[1, 0], &header, &types, strings].concat()
}

#[test]
fn a_struct_has_its_number_size_and_members() {
    let [pair] = find(&made_up(), ["pair"]).unwrap();
    assert_eq!((pair.id, pair.size), (2, 8));
    assert_eq!(pair.member("second"), Some((1, 4)));
    assert_eq!(pair.member("third"), None);
}

#[test]
fn what_is_missing_or_cut_off_is_not_found() {
    let bytes = made_up();
    assert_eq!(find(&bytes, ["pair", "triple"]), None);
    for length in 0..bytes.len() {
        assert_eq!(find(&bytes[..length], ["pair"]), None, "{length}");
    }
}

#[test]
fn this_kernel_s_sockets_are_found() {
    let bytes = std::fs::read("/sys/kernel/btf/vmlinux").unwrap();
    let [socket] = find(&bytes, ["tcp_sock"]).unwrap();
    let (_, at) = socket.member("snd_cwnd").unwrap();
    assert!(at > 0 && at < socket.size);
}

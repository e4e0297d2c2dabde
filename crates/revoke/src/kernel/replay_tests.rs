//! Segments in the peer's name.

use super::super::options::Address;
use super::super::testing::snapshot;
use super::super::tuple::Connection;
use super::*;

/// Over all words, a right checksum included, the sum is 0.
fn is_right(packet: &[u8], header: usize, hosts: usize) -> bool {
    let length = (packet.len() - header) as u8;
    let pseudo = [&packet[header - 2 * hosts..header], &[0, 0, 0, length], &[0, 0, 0, 6]].concat();
    checksum(&[&pseudo, &packet[header..]]) == 0
}

#[test]
fn it_comes_from_the_peer_with_the_number_before_the_next() {
    let local = Address::of("192.0.2.1:80".parse().unwrap());
    let peer = Address::of("198.51.100.7:4321".parse().unwrap());
    let made = fin(&snapshot(), &Connection::new(&local, &peer));
    assert_eq!((made.len(), &made[..4], made[9]), (40, &[0x45, 0, 0, 40][..], 6));
    assert_eq!((&made[12..16], &made[16..20]), (&[198, 51, 100, 7][..], &[192, 0, 2, 1][..]));
    assert_eq!((&made[20..22], &made[22..24]), (&4321u16.to_be_bytes()[..], &80u16.to_be_bytes()[..]));
    assert_eq!((&made[24..28], &made[28..32]), (&[1, 0, 0, 0][..], &[2, 0, 0, 0][..]));
    assert_eq!((made[33], &made[34..36]), (0x11, &500u16.to_be_bytes()[..]));
    assert!(is_right(&made, 20, 4));
}

#[test]
fn over_ipv6_too_and_over_ipv4_where_addresses_are_mapped() {
    let local = Address::of("[2001:db8::1]:80".parse().unwrap());
    let peer = Address::of("[2001:db8::7]:4321".parse().unwrap());
    let made = fin(&snapshot(), &Connection::new(&local, &peer));
    assert_eq!((made.len(), made[0], made[6]), (60, 0x60, 6));
    assert!(is_right(&made, 40, 16));
    let mapped =
        ["[::ffff:192.0.2.1]:80", "[::ffff:198.51.100.7]:4321"].map(|a| Address::of(a.parse().unwrap()));
    let plain = ["192.0.2.1:80", "198.51.100.7:4321"].map(|a| Address::of(a.parse().unwrap()));
    let [mapped, plain] = [mapped, plain].map(|[local, peer]| Connection::new(&local, &peer));
    assert_eq!(mapped, plain);
    assert_eq!(fin(&snapshot(), &mapped), fin(&snapshot(), &plain));
}

#[test]
fn the_acknowledgement_is_the_same_without_fin_and_at_the_same_place() {
    let [local, peer] = ["192.0.2.1:80", "198.51.100.7:4321"].map(|a| Address::of(a.parse().unwrap()));
    let connection = Connection::new(&local, &peer);
    let (fin, ack) = (fin(&snapshot(), &connection), acknowledgement(&snapshot(), &connection));
    assert_eq!((ack[33], &ack[24..32]), (ACK, &fin[24..32]), "the FIN is still to come");
    let open = crate::kernel::snapshot::Snapshot { is_half_closed: 0, ..snapshot() };
    assert_eq!(acknowledgement(&open, &connection)[24..28], open.receive_seq.to_be_bytes());
    assert!(is_right(&ack, 20, 4));
}

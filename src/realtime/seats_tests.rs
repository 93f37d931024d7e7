//! The seats alone, with a clock of the tests' own.

use std::net::SocketAddr;

use super::*;
use crate::exchange::{RequestId, Scheme};

/// Seats with `lines` of `[realtime]`, and the moment they began.
fn seats(lines: &str) -> (Seats, Instant) {
    let text = format!(
        "[realtime]\n{lines}\n[[listener]]\naddress = \"127.0.0.1:0\"\ntls = false\n\
         [[site]]\nname = \"main\"\nhosts = [\"localhost\"]\n\
         [site.upstream]\naddress = \"http://127.0.0.1:1\"\n"
    );
    let now = Instant::now();
    (
        Seats::new(&config::parse(&text).unwrap().realtime, now),
        now,
    )
}

fn address(text: &str) -> Option<Address> {
    Some(Address::from(text.parse::<IpAddr>().unwrap()))
}

fn origin(client: &str, local: &str) -> Origin {
    let socket = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 443);
    Origin {
        client: socket(client),
        local: socket(local),
        scheme: Scheme::Https,
        host: "localhost".into(),
        port: None,
        id: RequestId(1),
    }
}

fn tracked(seats: &Seats) -> usize {
    seats.0.lock().addresses.len()
}

#[test]
fn one_more_than_there_are_seats_is_refused_until_one_is_given_back() {
    let (seats, now) = seats("connections_max = 2");
    let first = seats.take(None, now).unwrap();
    let _second = seats.take(address("192.0.2.1"), now).unwrap();
    assert_eq!(seats.take(None, now).unwrap_err(), Full::Connections);
    assert_eq!(seats.taken(), 2);
    drop(first);
    let _third = seats.take(None, now).unwrap();
    assert_eq!(seats.take(None, now).unwrap_err(), Full::Connections);
}

#[test]
fn an_address_that_has_all_it_may_is_refused_and_no_other() {
    let (seats, now) = seats("connections_per_address_max = 2");
    let mut held: Vec<Permit> = Vec::new();
    for _ in 0..2 {
        held.push(seats.take(address("192.0.2.1"), now).unwrap());
    }
    let refused = seats.take(address("192.0.2.1"), now).unwrap_err();
    assert_eq!(refused, Full::Address);
    held.push(seats.take(address("192.0.2.2"), now).unwrap());
    for _ in 0..10 {
        held.push(seats.take(None, now).unwrap());
    }
    held.remove(0);
    held.push(seats.take(address("192.0.2.1"), now).unwrap());
    let refused = seats.take(address("192.0.2.1"), now).unwrap_err();
    assert_eq!(refused, Full::Address);
}

#[test]
fn an_ipv6_client_is_counted_by_its_64_first_bits() {
    let (seats, now) = seats("connections_per_address_max = 1");
    let _held = seats.take(address("2001:db8:1:2::1"), now).unwrap();
    let same = seats.take(address("2001:db8:1:2:ffff::9"), now);
    assert_eq!(same.unwrap_err(), Full::Address);
    assert!(seats.take(address("2001:db8:1:3::1"), now).is_ok());
    let shown = address("2001:db8:1:2:ffff::9").unwrap().to_string();
    assert_eq!(shown, "2001:db8:1:2::/64");
}

#[test]
fn the_machines_own_connections_have_no_address_and_others_have_that_of_the_client() {
    for (client, local, counted) in [
        ("127.0.0.1", "127.0.0.1", None),
        ("127.0.0.1", "127.0.1.1", None),
        ("::1", "::1", None),
        ("192.0.2.7", "192.0.2.7", None),
        ("::ffff:192.0.2.7", "192.0.2.7", None),
        ("2001:db8::7", "2001:db8::7", None),
        ("127.0.0.2", "127.0.0.1", Some("127.0.0.2")),
        ("127.0.0.1", "192.0.2.7", Some("127.0.0.1")),
        ("192.0.2.8", "192.0.2.7", Some("192.0.2.8")),
        ("::ffff:192.0.2.8", "192.0.2.7", Some("192.0.2.8")),
        ("2001:db8::8", "2001:db8::7", Some("2001:db8::/64")),
    ] {
        let address = Address::of(&origin(client, local));
        let shown = address.map(|address| address.to_string());
        assert_eq!(shown.as_deref(), counted, "{client} to {local}");
    }
}

#[test]
fn a_seconds_streams_may_open_at_once_and_then_they_come_at_the_rate() {
    let (seats, start) = seats("upgrades_per_second_max = 100\nconnections_max = 1_000");
    let at = |ms| start + Duration::from_millis(ms);
    let opened = |ms| {
        let tried = (0..500).map(|_| seats.take(None, at(ms)).map(drop));
        let (opened, refused): (Vec<_>, Vec<_>) = tried.partition(Result::is_ok);
        assert!(refused.iter().all(|full| *full == Err(Full::Rate)));
        opened.len()
    };
    assert_eq!(opened(0), 100);
    assert_eq!(opened(0), 0);
    assert_eq!(opened(9), 0);
    assert_eq!(opened(10), 1);
    assert_eq!(opened(510), 50);
    assert_eq!(opened(60_000), 100, "no more than a second's");
    assert_eq!(opened(59_000), 0, "nor again by a clock that goes back");
}

#[test]
fn whoever_is_refused_for_another_reason_uses_up_nothing_of_the_rate() {
    let lines = "upgrades_per_second_max = 3\nconnections_per_address_max = 1\nconnections_max = 2";
    let (seats, now) = seats(lines);
    let _one = seats.take(address("192.0.2.1"), now).unwrap();
    for _ in 0..10 {
        let refused = seats.take(address("192.0.2.1"), now).unwrap_err();
        assert_eq!(refused, Full::Address);
    }
    let two = seats.take(None, now).unwrap();
    for _ in 0..10 {
        assert_eq!(seats.take(None, now).unwrap_err(), Full::Connections);
    }
    drop(two);
    assert!(seats.take(None, now).is_ok());
    assert_eq!(seats.take(None, now).unwrap_err(), Full::Rate);
}

#[test]
fn nobody_is_let_in_once_the_process_stops() {
    let (seats, now) = seats("");
    let _held = seats.take(None, now).unwrap();
    seats.stop();
    assert_eq!(seats.take(None, now).unwrap_err(), Full::Stopping);
    assert_eq!(seats.taken(), 1);
}

#[test]
fn an_address_is_forgotten_with_its_last_connection_and_the_room_of_a_crowd_with_it() {
    let lines = "connections_max = 20_000\nupgrades_per_second_max = 20_000";
    let (seats, now) = seats(lines);
    let nth = |n: u32| Some(Address::V4(Ipv4Addr::from_bits(n)));
    let held: Vec<Permit> = (0..20_000u32)
        .map(|n| seats.take(nth(n / 2), now).unwrap())
        .collect();
    assert_eq!(tracked(&seats), 10_000);
    let refused = seats.take(nth(77_777), now);
    assert_eq!(refused.unwrap_err(), Full::Connections);
    assert_eq!(tracked(&seats), 10_000, "who is refused leaves no trace");
    drop(held);
    assert_eq!((tracked(&seats), seats.taken()), (0, 0));
    let room = seats.0.lock().addresses.capacity();
    assert!(room <= 1_024, "{room}");
}

#[test]
fn every_refusal_is_a_503_with_the_name_of_its_key() {
    for (full, reason) in [
        (Full::Stopping, "stopping"),
        (Full::Address, "connections_per_address_max"),
        (Full::Connections, "connections_max"),
        (Full::Rate, "upgrades_per_second_max"),
    ] {
        let failure = Failure::from(full);
        assert_eq!(failure.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(failure.reason, reason);
    }
}

//! What waits, in which order, and what is dropped.

use super::*;

const LIMITS: Limits = Limits {
    bytes: 100,
    messages: 3,
};

fn own(bytes: &'static [u8]) -> Item {
    Item::Own(Bytes::from_static(bytes))
}

fn next(backlog: &Backlog) -> Vec<u8> {
    let mut slices = Vec::new();
    backlog.slices(&mut slices);
    slices.iter().flat_map(|slice| slice.to_vec()).collect()
}

fn data(frames: &[&'static str]) -> Backlog {
    let mut backlog = Backlog::new(Kind::Protocol);
    for frame in frames {
        backlog.push(own(frame.as_bytes()), LIMITS).unwrap();
    }
    backlog
}

#[test]
fn control_overtakes_data_that_was_not_begun() {
    let mut backlog = data(&["first", "second"]);
    backlog.push_control(Bytes::from_static(b"PONG"));
    assert_eq!(next(&backlog), b"PONGfirstsecond");
    backlog.advance(6);
    assert_eq!(next(&backlog), b"rstsecond");
}

#[test]
fn a_begun_frame_is_never_torn() {
    let mut backlog = data(&["first", "second"]);
    backlog.advance(2);
    backlog.push_control(Bytes::from_static(b"PONG"));
    assert_eq!(next(&backlog), b"rstPONGsecond");
    backlog.advance(4);
    assert_eq!(next(&backlog), b"ONGsecond");
    backlog.push_control(Bytes::from_static(b"CLOSE"));
    backlog.advance(3);
    assert_eq!(next(&backlog), b"CLOSEsecond");
}

#[test]
fn a_close_drops_all_but_the_begun_frame() {
    let mut backlog = data(&["first", "second"]);
    backlog.advance(1);
    backlog.close(Bytes::from_static(b"CLOSE"));
    assert_eq!(next(&backlog), b"irstCLOSE");
    backlog.advance(9);
    assert!(backlog.is_empty());
}

#[test]
fn a_close_has_room_however_many_control_frames_wait() {
    let mut backlog = Backlog::new(Kind::Protocol);
    for _ in 0..100 {
        backlog.push_control(Bytes::from_static(b"PONG"));
    }
    backlog.advance(1);
    backlog.close(Bytes::from_static(b"CLOSE"));
    assert_eq!(next(&backlog), b"ONGCLOSE");
}

#[test]
fn the_bounds_hold_in_messages_and_in_bytes() {
    let mut backlog = data(&["1", "2", "3"]);
    assert_eq!(backlog.push(own(b"4"), LIMITS), Err(Full));
    let mut backlog = Backlog::new(Kind::Protocol);
    assert_eq!(
        backlog.push(Item::Own(Bytes::from(vec![0; 101])), LIMITS),
        Err(Full)
    );
    backlog
        .push(Item::Own(Bytes::from(vec![0; 100])), LIMITS)
        .unwrap();
    backlog.advance(1);
    backlog.push(own(b"1"), LIMITS).unwrap();
}

#[test]
fn one_write_takes_at_most_a_record() {
    let mut backlog = Backlog::new(Kind::Protocol);
    let limits = Limits {
        bytes: 1 << 20,
        messages: 9,
    };
    backlog
        .push(Item::Own(Bytes::from(vec![0; RECORD_MAX - 1])), limits)
        .unwrap();
    backlog
        .push(Item::Own(Bytes::from(vec![1; 10])), limits)
        .unwrap();
    assert_eq!(next(&backlog).len(), RECORD_MAX);
}

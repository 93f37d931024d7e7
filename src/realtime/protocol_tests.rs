//! Frames exactly as the protocol's own SDK sends and expects them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::{
    broker::{ChannelName, Draft, History, SiteId, memory},
    config,
};

fn publications(count: usize) -> (Vec<Arc<Publication>>, Position) {
    let config = config::parse(
        "[[listener]]\naddress=\"127.0.0.1:0\"\ntls=false\n[[site]]\nname=\"a\"\nhosts=[\"a\"]\n\
         [site.upstream]\naddress=\"unix:/a\"\n",
    )
    .unwrap();
    let broker = memory::Memory::new(&config.broker, 1, memory::Metrics::default());
    let channel = ChannelName {
        site: SiteId(0),
        name: "post:26".into(),
    };
    let history = History {
        size: 9,
        ttl: Duration::from_secs(9),
    };
    let mut list = Vec::new();
    for _ in 0..count {
        let draft = Draft {
            data: Bytes::from_static(b"{\"price\":\"9.90\"}"),
            tags: Some("{\"key\":\"26:price\"}".into()),
            ..Draft::default()
        };
        broker
            .publish(&channel, draft, history, |_, p| list.push(Arc::clone(p)))
            .unwrap();
    }
    (list, broker.position(&channel))
}

fn parsed(bytes: &[u8]) -> Value {
    assert!(!bytes.contains(&b'\n'));
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn reads_a_batch_of_commands() {
    let message = b"{\"connect\":{\"name\":\"js\",\"data\":{\"a\":1}},\"id\":1}\n\
        {\"subscribe\":{\"channel\":\"post:42\",\"flag\":1,\"recover\":true,\"offset\":17,\"epoch\":\"ab\"},\"id\":2}\n{}";
    let requests: Vec<_> = commands(message).map(|c| c.unwrap().request()).collect();
    assert!(matches!(requests[0], Request::Connect(_)));
    let Request::Subscribe(subscribe) = &requests[1] else {
        panic!()
    };
    assert_eq!(
        (&*subscribe.channel, subscribe.offset, &*subscribe.epoch),
        ("post:42", 17, "ab")
    );
    assert!(matches!(requests[2], Request::Pong));
    assert_eq!(requests.len(), 3);
}

#[test]
fn what_is_not_a_command_is_an_error() {
    for wrong in [
        &b"nonsense"[..],
        b"[]",
        b"[1]",
        b"{\"id\":-1}",
        b"{\"id\":1,\"subscribe\":7}",
        b"{\"id\":1",
    ] {
        assert!(commands(wrong).any(|command| command.is_err()), "{wrong:?}");
    }
}

#[test]
fn commands_that_are_not_offered_get_their_code() {
    for (command, code) in [
        (
            &b"{\"id\":4,\"publish\":{\"channel\":\"c\",\"data\":{}}}"[..],
            103,
        ),
        (b"{\"id\":4,\"rpc\":{\"method\":\"m\"}}", 108),
        (b"{\"id\":4,\"history\":{}}", 108),
        (b"{\"id\":4,\"presence\":{}}", 108),
        (b"{\"id\":4,\"unheard_of\":{}}", 104),
    ] {
        let command = commands(command).next().unwrap().unwrap();
        let Request::Refused(error) = command.request() else {
            panic!()
        };
        assert_eq!(parsed(&refused(4, error))["error"]["code"], code);
    }
}

#[test]
fn replies_have_the_protocols_shape() {
    let connect = parsed(&connected(1, "c-1", 25));
    assert_eq!(connect["id"], 1);
    assert_eq!(connect["connect"]["ping"], 25);
    assert_eq!(connect["connect"]["pong"], true);
    assert_eq!(
        parsed(&unsubscribed(3)),
        json!({"id": 3, "unsubscribe": {}})
    );
    assert_eq!(
        parsed(&refused(2, ErrorCode::PermissionDenied)),
        json!({"id": 2, "error": {"code": 103, "message": "permission denied"}})
    );
}

#[test]
fn a_plain_subscription_tells_the_position() {
    let (_, position) = publications(2);
    let reply = parsed(&subscribed(
        2,
        &Subscribed {
            position,
            recoverable: true,
            recovery: None,
            asked: 0,
        },
    ));
    let epoch = position.epoch.to_string();
    assert_eq!(
        reply,
        json!({"id": 2, "subscribe": {"recoverable": true, "positioned": true, "epoch": epoch, "offset": 2}})
    );
}

#[test]
fn a_recovered_subscription_echoes_the_asked_offset_and_a_lost_one_the_current() {
    let (list, position) = publications(2);
    let recovered = parsed(&subscribed(
        2,
        &Subscribed {
            position,
            recoverable: true,
            recovery: Some(Some(&list)),
            asked: 0,
        },
    ));
    assert_eq!(recovered["subscribe"]["offset"], 0);
    assert_eq!(recovered["subscribe"]["recovered"], true);
    assert_eq!(
        recovered["subscribe"]["publications"][1],
        json!({"data": {"price": "9.90"}, "offset": 2, "tags": {"key": "26:price"}})
    );
    let lost = parsed(&subscribed(
        2,
        &Subscribed {
            position,
            recoverable: true,
            recovery: Some(None),
            asked: 7,
        },
    ));
    assert_eq!(lost["subscribe"]["offset"], 2);
    assert_eq!(lost["subscribe"]["was_recovering"], true);
    assert_eq!(lost["subscribe"].get("recovered"), None);
    assert_eq!(lost["subscribe"].get("publications"), None);
}

#[test]
fn a_push_carries_the_publication() {
    let (list, _) = publications(1);
    assert_eq!(
        parsed(&publication_push("post:\"26", &list[0])),
        json!({"push": {"channel": "post:\"26", "pub": {
            "data": {"price": "9.90"}, "offset": 1, "tags": {"key": "26:price"}}}})
    );
    assert_eq!(
        parsed(&insufficient_state_push("post:26"))["push"]["unsubscribe"]["code"],
        2500
    );
}

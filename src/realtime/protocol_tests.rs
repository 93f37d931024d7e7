//! Frames exactly as the protocol's own SDK sends and expects them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::{
    broker::{ChannelName, Draft, History, Position, Publication, SiteId, memory},
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
            .publish(&channel, draft, history, |_, _, p| list.push(Arc::clone(p)))
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
        b"{\"id\":1,\"subscribe\":[\"post:1\"]}",
        b"{\"id\":1,\"connect\":[]}",
        b"{\"id\":1,\"history\":{\"since\":[1]}}",
        b"{\"id\":1",
    ] {
        assert!(commands(wrong).any(|command| command.is_err()), "{wrong:?}");
    }
}

#[test]
fn every_command_is_told_from_the_others() {
    for (command, name) in [
        (
            "\"connect\":{\"subs\":{\"post:1\":{\"recover\":true,\"offset\":7,\"epoch\":\"e\"}}}",
            "Connect",
        ),
        ("\"subscribe\":{\"channel\":\"c\"}", "Subscribe"),
        ("\"unsubscribe\":{\"channel\":\"c\"}", "Unsubscribe"),
        (
            "\"publish\":{\"channel\":\"c\",\"data\":{\"a\":1}}",
            "Publish",
        ),
        ("\"presence\":{\"channel\":\"c\"}", "Presence("),
        ("\"presence_stats\":{\"channel\":\"c\"}", "PresenceStats"),
        (
            "\"history\":{\"channel\":\"c\",\"limit\":-1,\"since\":{\"offset\":1,\"epoch\":\"e\"}}",
            "History",
        ),
        ("\"refresh\":{\"token\":\"t\"}", "Refresh"),
        (
            "\"sub_refresh\":{\"channel\":\"c\",\"token\":\"t\"}",
            "SubRefresh",
        ),
        ("\"ping\":{}", "Ping"),
        ("\"send\":{\"data\":1}", "Send"),
        ("\"rpc\":{\"method\":\"m\"}", "Refused(NotAvailable)"),
        ("\"unheard_of\":{}", "Refused(MethodNotFound)"),
    ] {
        let text = format!("{{\"id\":4,{command}}}");
        let command = commands(text.as_bytes()).next().unwrap().unwrap();
        let request = format!("{:?}", command.request());
        assert!(request.starts_with(name), "{text}: {request}");
    }
}

#[test]
fn replies_have_the_protocols_shape() {
    let facts = Connected {
        client: "c-1".into(),
        ping: 25,
        ttl: Some(600),
    };
    let subs = [("post:\"1".into(), b"{\"offset\":1}".to_vec())];
    let version = concat!("sidewire ", env!("CARGO_PKG_VERSION"));
    assert_eq!(
        parsed(&connected(1, &facts, &subs)),
        json!({"id": 1, "connect": {"client": "c-1", "version": version, "ping": 25, "pong": true,
            "expires": true, "ttl": 600, "subs": {"post:\"1": {"offset": 1}}}})
    );
    let anonymous = Connected { ttl: None, ..facts };
    let connect = parsed(&connected(1, &anonymous, &[]));
    assert_eq!(connect["connect"].get("expires"), None);
    for (reply, expected) in [
        (unsubscribed(3), json!({"id": 3, "unsubscribe": {}})),
        (published(3), json!({"id": 3, "publish": {}})),
        (ponged(3), json!({"id": 3, "ping": {}})),
        (
            refreshed(3, "c-1", 60),
            json!({"id": 3, "refresh": {"client": "c-1", "version": version, "expires": true, "ttl": 60}}),
        ),
        (
            subscription_refreshed(3, 60),
            json!({"id": 3, "sub_refresh": {"expires": true, "ttl": 60}}),
        ),
        (
            presence(
                3,
                &[("c-1".into(), "{\"user\":\"7\",\"client\":\"c-1\"}".into())],
            ),
            json!({"id": 3, "presence": {"presence": {"c-1": {"user": "7", "client": "c-1"}}}}),
        ),
        (
            presence(3, &[]),
            json!({"id": 3, "presence": {"presence": {}}}),
        ),
        (
            presence_stats(3, 2, 1),
            json!({"id": 3, "presence_stats": {"num_clients": 2, "num_users": 1}}),
        ),
        (
            refused(3, ErrorCode::PermissionDenied),
            json!({"id": 3, "error": {"code": 103, "message": "permission denied"}}),
        ),
        (
            refused(3, ErrorCode::Internal),
            json!({"id": 3, "error": {"code": 100, "message": "internal server error", "temporary": true}}),
        ),
    ] {
        assert_eq!(parsed(&reply), expected);
    }
}

#[test]
fn a_history_reply_holds_its_publications_and_the_position() {
    let (list, position) = publications(1);
    let epoch = position.epoch.to_string();
    assert_eq!(
        parsed(&history(7, position, &list)),
        json!({"id": 7, "history": {"publications": [
            {"data": {"price": "9.90"}, "offset": 1, "tags": {"key": "26:price"}}],
            "epoch": epoch, "offset": 1}})
    );
    let empty = parsed(&history(7, position, &[]));
    assert_eq!(empty["history"]["publications"], json!([]));
}

fn result(position: Position, recovery: Recovered<'_>) -> Value {
    let subscribed = Subscribed {
        position,
        recoverable: true,
        recovery,
        ttl: None,
        data: None,
    };
    parsed(&subscribed.result())
}

#[test]
fn a_plain_subscription_tells_the_position() {
    let (_, position) = publications(2);
    let epoch = position.epoch.to_string();
    assert_eq!(
        result(position, Recovered::NotAsked),
        json!({"recoverable": true, "positioned": true, "epoch": epoch, "offset": 2})
    );
}

#[test]
fn a_subscription_hands_over_the_data_of_its_token_beside_publications() {
    let (list, position) = publications(2);
    let subscribed = Subscribed {
        position,
        recoverable: false,
        recovery: Recovered::All(1, &list[1..]),
        ttl: None,
        data: Some("{\"title\":\"Tea\"}"),
    };
    let result = parsed(&subscribed.result());
    assert_eq!(result["data"], json!({"title": "Tea"}));
    assert_eq!(result["publications"][0]["offset"], 2);
    assert_eq!(result["recovered"], true);
}

#[test]
fn a_recovered_subscription_echoes_the_asked_offset_and_a_lost_one_the_current() {
    let (list, position) = publications(2);
    let recovered = result(position, Recovered::All(0, &list));
    assert_eq!(recovered["offset"], 0);
    assert_eq!(recovered["recovered"], true);
    assert_eq!(
        recovered["publications"][1],
        json!({"data": {"price": "9.90"}, "offset": 2, "tags": {"key": "26:price"}})
    );
    let lost = result(position, Recovered::Gap);
    assert_eq!(lost["offset"], 2);
    assert_eq!(lost["was_recovering"], true);
    assert_eq!(lost.get("recovered"), None);
    assert_eq!(lost.get("publications"), None);
}

#[test]
fn the_newest_publication_is_given_asked_or_not() {
    let (list, position) = publications(1);
    let first = result(position, Recovered::Newest(false, &list));
    assert_eq!(first["publications"][0]["offset"], 1);
    assert_eq!(first.get("was_recovering"), None);
    let again = result(position, Recovered::Newest(true, &list));
    assert_eq!(again["recovered"], true);
}

#[test]
fn a_push_carries_the_publication() {
    let (list, _) = publications(1);
    let publication = json!({"data": {"price": "9.90"}, "offset": 1, "tags": {"key": "26:price"}});
    assert_eq!(
        parsed(&publication_push("post:\"26", &list[0], false)),
        json!({"push": {"channel": "post:\"26", "pub": publication}})
    );
    let conflated = parsed(&publication_push("post:26", &list[0], true));
    assert_eq!(
        conflated["push"]["pub"]["tags"],
        json!({"key": "26:price", "conflated": "true"})
    );
}

#[test]
fn pushes_tell_what_became_of_a_subscription_and_who_is_there() {
    assert_eq!(
        parsed(&unsubscribe_push("post:26", 2500, "insufficient state")),
        json!({"push": {"channel": "post:26", "unsubscribe": {"code": 2500, "reason": "insufficient state"}}})
    );
    let info = client_info("7", "c-1", Some("{\"name\":\"A\"}"), None);
    assert_eq!(
        parsed(&join_push("edit:26", &info)),
        json!({"push": {"channel": "edit:26", "join": {"info":
            {"user": "7", "client": "c-1", "conn_info": {"name": "A"}}}}})
    );
    assert_eq!(
        parsed(&leave_push("edit:26", "{}"))["push"]["leave"],
        json!({"info": {}})
    );
    assert_eq!(
        parsed(&subscribe_push("edit:26", b"{\"offset\":1}"))["push"]["subscribe"],
        json!({"offset": 1})
    );
}

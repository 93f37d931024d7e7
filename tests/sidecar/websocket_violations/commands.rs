//! Messages that are no commands, or commands that can't be followed: what ends the connection
//! with 3501, what is answered with an error, and what is passed over.

use serde_json::json;

use crate::harness::websocket::{FIN, frame};

use super::{
    Expected::{Answers, AnswersThenClose, Close},
    From, Row,
};

const BINARY: u8 = 0x2;

/// Deeper than a recursive reader could go.
const DEEP: usize = 10_000;

pub(super) fn rows() -> Vec<Row> {
    [
        not_json(),
        not_objects(),
        ids(),
        keys(),
        types(),
        connects(),
        before_connect(),
        sizes(),
        errors(),
    ]
    .concat()
}

fn refused(message: impl Into<String>) -> Row {
    Row::says(message, Close(3501))
}

fn not_json() -> Vec<Row> {
    let mut rows: Vec<Row> = [
        "nonsense",
        "{",
        "{\"id\":5",
        "{\"id\":5,",
        "{\"id\":5,\"ping\"",
        "{\"id\":5,\"ping\":",
        "{\"id\":5,\"ping\":{}",
        "{\"id\":5,\"ping\":{",
        "{\"id\":5,\"ping\":{}]",
        "{\"id\":5,\"ping\":{},}",
        "{\"id\":5 \"ping\":{}}",
        "{\"id\":5,,\"ping\":{}}",
        "{'id':5,'ping':{}}",
        "{id:5,ping:{}}",
        "{\"id\":5,\"ping\":{}/* */}",
        "// {\"id\":5,\"ping\":{}}",
        "{\"id\":NaN,\"ping\":{}}",
        "{\"id\":5,\"x\":Infinity}",
        "{\"id\":5,\"x\":+1}",
        "{\"id\":05,\"ping\":{}}",
        "{\"id\":0x5,\"ping\":{}}",
        "{\"id\":5,\"x\":.5}",
        "{\"id\":5,\"x\":5.}",
        "{\"id\":5,\"x\":1e}",
        "{\"id\":5,\"x\":tru}",
        "{\"id\":5,\"x\":\"}",
        "{\"id\":5,\"x\":\"\\x\"}",
        "{\"id\":5,\"x\":\"\\u12\"}",
        "{\"id\":5,\"x\":\"\n\"}",
        "{\"id\":5,\"x\":\"\0\"}",
        "{\"id\":5,\0\"ping\":{}}",
        "\0",
        "\u{feff}{\"id\":5,\"ping\":{}}",
        "\u{a0}{\"id\":5,\"ping\":{}}",
        "}",
        "]",
        ":",
    ]
    .map(refused)
    .into();
    for end in ["x", "{", ",", "\0", ",{\"id\":6,\"ping\":{}}", "\"", "]"] {
        let message = format!("{{\"id\":5,\"ping\":{{}}}}{end}");
        rows.push(Row::says(message, AnswersThenClose(3501)));
    }
    let bytes = frame(FIN | BINARY, b"{\"id\":5,\"ping\":{}}");
    rows.push(Row::new(
        "a command as a binary message",
        bytes,
        Close(3501),
    ));
    rows.push(Row::new(
        "an empty binary message",
        frame(FIN | BINARY, b""),
        Close(3501),
    ));
    rows
}

fn not_objects() -> Vec<Row> {
    let command = json!({ "id": 5, "ping": {} });
    let mut rows: Vec<Row> = [
        "[]", "[[]]", "7", "-1", "1.5", "1e5", "null", "true", "\"\"", "\"x\"",
    ]
    .map(refused)
    .into();
    rows.push(refused(json!([command]).to_string()));
    rows.push(refused(json!([5, null, null, null, {}]).to_string()));
    rows.push(refused(json!(command.to_string()).to_string()));
    rows
}

/// An id is a number of 32 bits, and 0 only where no reply is asked for.
fn ids() -> Vec<Row> {
    let ids = [
        "0",
        "-0",
        "-1",
        "1.5",
        "5.0",
        "5e0",
        "1e400",
        "4294967296",
        "18446744073709551616",
        "\"5\"",
        "\"\"",
        "null",
        "true",
        "[]",
        "[5]",
        "{}",
    ];
    let mut rows: Vec<Row> = Vec::new();
    for command in ["\"ping\":{}", "\"subscribe\":{\"channel\":\"post:1\"}"] {
        rows.push(refused(format!("{{{command}}}")));
        rows.extend(ids.map(|id| refused(format!("{{\"id\":{id},{command}}}"))));
    }
    rows.push(refused(format!(
        "{{\"id\":{},\"ping\":{{}}}}",
        "9".repeat(10_000)
    )));
    let largest = format!("{{\"id\":{},\"ping\":{{}}}}", u32::MAX);
    rows.push(Row::says(
        largest,
        Answers(vec![(u64::from(u32::MAX), 0)], vec![]),
    ));
    rows
}

/// A key that stands twice is refused where it is known.
fn keys() -> Vec<Row> {
    let five = || Answers(vec![(5, 0)], vec![]);
    vec![
        refused("{\"id\":5,\"id\":5,\"ping\":{}}"),
        refused("{\"id\":5,\"ping\":{},\"ping\":{}}"),
        refused("{\"id\":5,\"subscribe\":{\"channel\":\"post:1\",\"channel\":\"post:2\"}}"),
        refused("{\"id\":5,\"\\u0069d\":6,\"ping\":{}}"),
        Row::says("{\"id\":5,\"x\":1,\"x\":2,\"ping\":{}}", five()),
        Row::says("{\"\":1,\"id\":5,\"ping\":{}}", five()),
        Row::says(" \r\n\t{ \"id\" : 5 ,\n\"ping\" : { } }\n\n", five()),
        Row::says("{\"i\\u0064\":5,\"ping\":{}}", five()),
    ]
}

fn types() -> Vec<Row> {
    let text = [
        "7",
        "1.5",
        "true",
        "[]",
        "{}",
        "null",
        "[\"post:1\"]",
        "\"\\ud800\"",
    ];
    let number = [
        "\"7\"",
        "-1",
        "1.5",
        "1e400",
        "true",
        "[]",
        "{}",
        "null",
        "18446744073709551616",
    ];
    let truth = ["1", "0", "\"true\"", "null", "[]", "{}"];
    let command = ["3", "\"x\"", "true", "1.5"];
    let mut rows = Vec::new();
    for (name, field, values) in [
        ("subscribe", "channel", &text[..]),
        ("subscribe", "epoch", &text),
        ("subscribe", "recover", &truth),
        ("subscribe", "offset", &number),
        ("subscribe", "flag", &number),
        ("subscribe", "type", &number),
        ("unsubscribe", "channel", &text),
    ] {
        for value in values {
            let channel = if field == "channel" {
                ""
            } else {
                "\"channel\":\"post:1\","
            };
            let message = format!("{{\"id\":5,\"{name}\":{{{channel}\"{field}\":{value}}}}}");
            rows.push(refused(message));
        }
    }
    for name in ["subscribe", "unsubscribe"] {
        let row = |value: &str| refused(format!("{{\"id\":5,\"{name}\":{value}}}"));
        rows.extend(command.map(row));
    }
    rows
}

/// The connect command: of the right types, once, and first.
fn connects() -> Vec<Row> {
    let mut rows = vec![
        refused("{\"id\":5,\"connect\":{}}"),
        refused("{\"id\":5,\"connect\":{\"token\":\"x\"}}"),
    ];
    for message in [
        "{\"connect\":{}}",
        "{\"id\":0,\"connect\":{}}",
        "{\"id\":-1,\"connect\":{}}",
        "{\"id\":5,\"connect\":3}",
        "{\"id\":5,\"connect\":\"x\"}",
        "{\"id\":5,\"connect\":true}",
        "{\"id\":5,\"connect\":{\"token\":7}}",
        "{\"id\":5,\"connect\":{\"token\":null}}",
        "{\"id\":5,\"connect\":{\"token\":[]}}",
        "{\"id\":5,\"connect\":{\"token\":{}}}",
        "{\"id\":5,\"connect\":{\"token\":\"\",\"token\":\"\"}}",
        "{\"id\":5,\"connect\":{}",
    ] {
        rows.push(refused(message).from(From::Upgrade));
    }
    let twice = "{\"id\":5,\"connect\":{}}\n{\"id\":6,\"connect\":{}}";
    rows.push(Row::says(twice, AnswersThenClose(3501)).from(From::Upgrade));
    let token = "{\"id\":5,\"connect\":{\"token\":\"a.b.c\"}}";
    rows.push(Row::says(token, Close(3500)).from(From::Upgrade));
    rows
}

fn before_connect() -> Vec<Row> {
    let names = [
        "subscribe",
        "unsubscribe",
        "publish",
        "presence",
        "presence_stats",
        "history",
        "ping",
        "rpc",
        "refresh",
        "sub_refresh",
        "send",
        "sing",
    ];
    let row = |name: &str| {
        let mut command = json!({ "id": 5 });
        command[name] = json!({});
        refused(command.to_string()).from(From::Upgrade)
    };
    names.map(row).into()
}

/// Nesting and numbers without measure cost nothing where nobody asks for them, and are refused
/// where somebody does.
fn sizes() -> Vec<Row> {
    let named = |name: &str, message: String, expected| {
        let row = Row::says(message, expected);
        Row {
            name: name.into(),
            ..row
        }
    };
    let five = || Answers(vec![(5, 0)], vec![]);
    let nested = |open: &str, close: &str| open.repeat(DEEP) + "1" + &close.repeat(DEEP);
    let (lists, objects) = (nested("[", "]"), nested("{\"a\":", "}"));
    let digits = "9".repeat(10_000);
    let mut rows = vec![
        named("lists that never close", "[".repeat(DEEP), Close(3501)),
        named(
            "objects that never close",
            "{\"a\":".repeat(DEEP),
            Close(3501),
        ),
        named("lists in lists", lists.clone(), Close(3501)),
        named(
            "a long text that never closes",
            format!("{{\"{}", "x".repeat(60_000)),
            Close(3501),
        ),
    ];
    for (what, value) in [
        ("lists", &lists),
        ("objects", &objects),
        ("digits", &digits),
    ] {
        let message = format!("{{\"id\":5,\"ping\":{{}},\"x\":{value}}}");
        rows.push(named(
            &format!("{what} in a field of no meaning"),
            message,
            five(),
        ));
        let message = format!("{{\"id\":5,\"subscribe\":{{\"channel\":{value}}}}}");
        rows.push(named(&format!("{what} as a channel"), message, Close(3501)));
        let message =
            format!("{{\"id\":5,\"subscribe\":{{\"channel\":\"a\",\"offset\":{value}}}}}");
        rows.push(named(&format!("{what} as an offset"), message, Close(3501)));
        let message = format!("{{\"id\":{value},\"ping\":{{}}}}");
        rows.push(named(&format!("{what} as an id"), message, Close(3501)));
    }
    rows
}

/// A command that is one, but can't be followed, costs only itself.
fn errors() -> Vec<Row> {
    let long = "x".repeat(300);
    let mut rows = Vec::new();
    for (channel, code) in [
        ("", 107),
        (" ", 107),
        ("post:a b", 107),
        ("post:\0", 107),
        ("post:\n", 107),
        ("post:\u{7f}", 107),
        (&long, 107),
        ("nothing:1", 102),
        ("edit:1", 103),
    ] {
        let command = json!({ "id": 5, "subscribe": { "channel": channel } });
        rows.push(Row::says(
            command.to_string(),
            Answers(vec![(5, code)], vec![]),
        ));
    }
    for (command, code) in [
        (json!({ "id": 5 }), 104),
        (json!({ "id": 5, "sing": {} }), 104),
        (json!({ "id": 5, "Ping": {} }), 104),
        (json!({ "id": 5, "ping": null }), 104),
        (json!({ "id": 5, "subscribe": {} }), 107),
        (json!({ "id": 5, "subscribe": null }), 104),
        (json!({ "id": 5, "push": {} }), 104),
    ] {
        rows.push(Row::says(
            command.to_string(),
            Answers(vec![(5, code)], vec![]),
        ));
    }
    rows
}

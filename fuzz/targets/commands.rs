//! Messages of a browser: no bytes make the decoder panic, and what it takes for commands is JSON
//! objects with the ids that a plain JSON reader finds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Deserializer, Value};
use sidewire::realtime::fuzzing::commands;

fuzz_target!(|message: &[u8]| {
    let found = commands(message);
    assert!(found.len() <= message.len());
    let values = Deserializer::from_slice(message).into_iter::<Value>();
    for (command, value) in found.iter().zip(values) {
        // A plain reader refuses more: nesting, numbers and escapes in fields that we pass over.
        let (Some((id, _)), Ok(value)) = (command, value) else {
            return;
        };
        assert!(value.is_object(), "{value}");
        let expected = value.get("id").map_or(Some(0), Value::as_u64);
        assert_eq!(expected, Some(u64::from(*id)), "{value}");
    }
});

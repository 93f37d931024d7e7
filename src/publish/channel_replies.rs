//! What the methods that look at channels answer, in the shapes of Centrifugo's server API.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use serde_json::{json, value::RawValue};

use super::method::write;
use crate::{
    broker::{Position, Publication},
    realtime::Presence,
};

/// The reply of `history`.
#[derive(Debug, Serialize)]
struct Page<'a> {
    publications: Vec<Kept<'a>>,
    epoch: String,
    offset: u64,
}

/// A publication, each value as it was published.
#[derive(Debug, Serialize)]
struct Kept<'a> {
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<&'a RawValue>,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<&'a RawValue>,
}

/// The reply of `history`.
pub(super) fn history(position: Position, publications: &[Arc<Publication>]) -> Box<RawValue> {
    let kept = publications.iter().map(|publication| Kept {
        data: serde_json::from_slice(&publication.data).ok(),
        info: raw(publication.info.as_deref()),
        offset: publication.offset,
        tags: raw(publication.tags.as_deref()),
    });
    write(&Page {
        publications: kept.collect(),
        epoch: position.epoch.to_string(),
        offset: position.offset,
    })
}

fn raw(json: Option<&str>) -> Option<&RawValue> {
    serde_json::from_str(json?).ok()
}

/// The reply of `presence`: each client's `ClientInfo` by its id.
pub(super) fn presence(presence: &Presence) -> Box<RawValue> {
    write(&BTreeMap::from([("presence", presence)]))
}

/// The reply of `presence_stats`.
pub(super) fn presence_stats(clients: usize, users: usize) -> Box<RawValue> {
    write(&json!({ "num_clients": clients, "num_users": users }))
}

/// The reply of `channels`.
pub(super) fn channels<'a>(
    channels: impl Iterator<Item = (&'a Arc<str>, &'a usize)>,
) -> Box<RawValue> {
    let listed = channels.map(|(name, clients)| (&**name, json!({ "num_clients": clients })));
    let listed: BTreeMap<_, _> = listed.collect();
    write(&BTreeMap::from([("channels", listed)]))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        broker::{ChannelName, Draft, History, SiteId, memory},
        config,
    };

    #[test]
    fn a_page_of_history_holds_each_value_as_it_was_published() {
        let config = "[[listener]]\naddress=\"127.0.0.1:0\"\ntls=false\n[[site]]\nname=\"a\"\n\
                      hosts=[\"a\"]\n[site.upstream]\naddress=\"unix:/a\"\n";
        let config = config::parse(config).unwrap();
        let broker = memory::Memory::new(&config.broker, 1, memory::Metrics::default());
        let channel = ChannelName {
            site: SiteId(0),
            name: "c".into(),
        };
        let draft = Draft {
            data: "{\"z\": 1.50,\"a\":1}".into(),
            tags: Some("{\"key\":\"k\"}".into()),
            info: Some("{\"user\":\"1\"}".into()),
            ..Draft::default()
        };
        let ttl = Duration::from_secs(9);
        let mut list = Vec::new();
        let deliver = |_, _, publication: &Arc<Publication>| list.push(Arc::clone(publication));
        let published = broker.publish(&channel, draft, History { size: 9, ttl }, deliver);
        let position = published.unwrap().position;
        let epoch = position.epoch;
        assert_eq!(
            history(position, &list).get(),
            format!(
                "{{\"publications\":[{{\"data\":{{\"z\": 1.50,\"a\":1}},\
                 \"info\":{{\"user\":\"1\"}},\"offset\":1,\"tags\":{{\"key\":\"k\"}}}}],\
                 \"epoch\":\"{epoch}\",\"offset\":1}}"
            )
        );
        assert_eq!(
            history(position, &[]).get(),
            format!("{{\"publications\":[],\"epoch\":\"{epoch}\",\"offset\":1}}")
        );
    }

    #[test]
    fn presence_and_channels_have_centrifugos_shape() {
        let info = RawValue::from_string("{\"user\":\"1\"}".into()).unwrap();
        assert_eq!(
            presence(&BTreeMap::from([("id".into(), info)])).get(),
            "{\"presence\":{\"id\":{\"user\":\"1\"}}}"
        );
        assert_eq!(
            presence_stats(3, 2).get(),
            "{\"num_clients\":3,\"num_users\":2}"
        );
        assert_eq!(
            channels([(&"post:26".into(), &4)].into_iter()).get(),
            "{\"channels\":{\"post:26\":{\"num_clients\":4}}}"
        );
    }
}

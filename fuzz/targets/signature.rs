//! Headers of a publish request: none make the check panic, none pass without a signature that one
//! of the site's keys made over these very bytes, and none that such a key signed fails for it.
#![no_main]

use std::{sync::LazyLock, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use sidewire::{
    auth::signature::{self, Content},
    config::{self, Secret},
    publish::{Error, Headers, Verifier},
};

const NOW: u64 = 1_700_000_000;

/// The number of a site and one of its keys.
static KEYS: LazyLock<Vec<(usize, Secret)>> = LazyLock::new(|| {
    let keys = [(0, 1), (1, 2), (1, 3)].into_iter();
    keys.map(|(site, fill)| {
        let secret = format!("whsec_{}", STANDARD.encode([fill; 32]));
        (site, Secret::parse(&secret).expect("a secret"))
    })
    .collect()
});

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let mut text = "[[listener]]\naddress = '127.0.0.1:0'\ntls = false\n".to_owned();
    for (n, name) in ["blog", "shop"].iter().enumerate() {
        text += &format!("[[site]]\nname = '{name}'\nhosts = ['{name}']\n");
        for (_, key) in KEYS.iter().filter(|(of, _)| *of == n) {
            let secret = STANDARD.encode(key.as_bytes());
            text += &format!("[[site.publish_key]]\nsecret = 'whsec_{secret}'\n");
        }
        text += "[site.upstream]\naddress = 'unix:/nowhere'\n";
    }
    let config = config::parse(&text).expect("a configuration");
    Verifier::new(&config.sites, Duration::from_secs(300), NOW - 100)
});

fuzz_target!(|input: &[u8]| {
    // Header lines, an empty line, the body; the first byte says whether we sign it first.
    let [sign, request @ ..] = input else {
        return;
    };
    let end = request.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((request, &[][..]), |end| {
        (&request[..end], &request[end + 2..])
    });
    let mut headers = read(head);
    let signer = KEYS.get(usize::from(*sign % 8));
    if let Some((_, key)) = signer {
        let Some(signature) = signed(key, &headers, body) else {
            return;
        };
        headers.insert("webhook-signature", signature);
    }
    judge(&headers, body, signer.map(|(site, _)| *site));
});

fn read(head: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in head.split(|byte| *byte == b'\n').take(32) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (name, value) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        let pair = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value));
        if let (Ok(name), Ok(value)) = pair {
            headers.append(name, value);
        }
    }
    headers
}

fn signed(key: &Secret, headers: &HeaderMap, body: &[u8]) -> Option<HeaderValue> {
    let text = |name| headers.get(name)?.to_str().ok();
    let content = Content {
        id: text("webhook-id")?,
        timestamp: text("webhook-timestamp")?,
        body,
    };
    HeaderValue::from_str(&signature::sign(key.as_bytes(), content)).ok()
}

fn judge(headers: &HeaderMap, body: &[u8], signer: Option<usize>) {
    let mut fields = Headers::default();
    for (name, value) in headers {
        fields.add(name.as_str(), value.as_bytes());
    }
    let answer = VERIFIER.verify("publish", &fields, body, NOW);
    let answer = answer.map(|verified| verified.site.0);
    match (&answer, signer) {
        (Ok(site), Some(signer)) => assert_eq!(*site, signer, "another site's key"),
        (Ok(site), None) => {
            let given = headers.get("webhook-signature").expect("a signature");
            let given = given.to_str().expect("text");
            let own = KEYS.iter().filter(|(of, _)| of == site);
            let mut own = own.filter_map(|(_, key)| signed(key, headers, body));
            assert!(
                own.any(|own| given.split_ascii_whitespace().any(|each| each == own)),
                "{given} passed"
            );
        }
        (Err(Error::Signature), Some(_)) => {
            assert!(headers.contains_key("sidewire-site"), "{headers:?}");
        }
        (Err(_), _) => {}
    }
}

//! Browsers' tokens, as WordPress makes them.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

use serde_json::{Value, json};
use sidewire::{auth::token::mint, config::Secret};

use super::{
    sidecar::{Sidecar, Site},
    unix_now,
    websocket::Socket,
};

const SECRET: &str = "whsec_YnJvd3NlcnMsIGZvciB0aGVpciB0b2tlbnMsIDMyIGJ5dGVz";

/// A site that takes the tokens of this module, with further `tables`.
pub(crate) fn site(tables: &str) -> Site {
    let key = format!("[[site.token_key]]\nsecret = {SECRET:?}\n{tables}");
    Site::new("main", "localhost").tables(&key)
}

/// A token of `claims`, for an hour from `iat` on, or from now.
pub(crate) fn token(mut claims: Value) -> String {
    let issued = claims["iat"].as_u64().unwrap_or_else(unix_now);
    claims["iat"] = issued.into();
    if claims.get("exp").is_none() {
        claims["exp"] = (issued + 3_600).into();
    }
    let secret = Secret::parse(SECRET).unwrap();
    mint("", secret.as_bytes(), &claims.to_string())
}

/// A second in which no revocation that was made before can hold any more.
pub(crate) fn later() -> u64 {
    unix_now() + 1
}

impl Sidecar {
    /// A browser of the first site that has connected with a token of `claims`.
    pub(crate) async fn bearer(&self, claims: Value) -> Socket {
        let mut socket = self.socket("/realtime").await;
        let reply = socket.present(claims).await;
        assert!(reply["connect"].is_object(), "{reply}");
        socket
    }
}

impl Socket {
    /// The reply to a connect command with a token of `claims`.
    pub(crate) async fn present(&mut self, claims: Value) -> Value {
        let connect = json!({ "token": token(claims) });
        self.ask(json!({ "id": 1, "connect": connect })).await
    }

    /// The reply to a subscribe command with a token of `user` for `channel`, issued in `second`.
    pub(crate) async fn named(&mut self, channel: &str, user: &str, second: u64) -> Value {
        let token = token(json!({ "sub": user, "channel": channel, "iat": second }));
        let subscribe = json!({ "channel": channel, "token": token });
        self.ask(json!({ "id": 3, "subscribe": subscribe })).await
    }

    /// Asserts that nothing is on its way but the answer to a ping.
    pub(crate) async fn quiet(&mut self) {
        let reply = self.ask(json!({ "id": 99, "ping": {} })).await;
        assert_eq!(reply, json!({ "id": 99, "ping": {} }));
    }
}

//! From a target to an open WebSocket: dial, TLS, opening handshake, each under a deadline.
//!
//! Frames are fastwebsockets'; what they say is the session's.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::{
    digest,
    rand::{SecureRandom, SystemRandom},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use fastwebsockets::{FragmentCollector, Role, WebSocket};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, crypto::aws_lc_rs::default_provider, pki_types::ServerName},
};

use super::{session::End, target::Target};

/// For the TCP connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For TLS and the opening handshake, each.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of the answer to the opening handshake.
const HEAD_MAX: u64 = 16 << 10;

/// A message of ours may have as much as a recovery.
const MESSAGE_MAX: usize = 64 << 20;

/// From RFC 6455 §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Anything that bytes go over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// An open WebSocket; what was read past its handshake is read first.
pub(super) type Socket = FragmentCollector<BufReader<Box<dyn Stream>>>;

/// Opens a WebSocket to `target`.
///
/// # Errors
///
/// Whether it is worth another try is said.
pub(super) async fn open(target: &Target) -> Result<Socket, End> {
    let stream = within(CONNECT_TIMEOUT, "connecting", dial(target)).await?;
    let stream = within(HANDSHAKE_TIMEOUT, "TLS", secure(target, stream)).await?;
    let mut stream = BufReader::new(stream);
    let handshake = shake_hands(target, &mut stream);
    within(HANDSHAKE_TIMEOUT, "the opening handshake", handshake).await?;
    let mut socket = WebSocket::after_handshake(stream, Role::Client);
    socket.set_max_message_size(MESSAGE_MAX);
    socket.set_auto_close(false);
    Ok(FragmentCollector::new(socket))
}

async fn within<T>(
    limit: Duration,
    what: &str,
    work: impl Future<Output = Result<T, End>>,
) -> Result<T, End> {
    match timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => {
            let seconds = limit.as_secs();
            Err(End::Lost(format!("{what} took more than {seconds} s")))
        }
    }
}

async fn dial(target: &Target) -> Result<TcpStream, End> {
    let dialled = match target.address {
        Some(address) => TcpStream::connect(address).await,
        None => TcpStream::connect((target.host.as_str(), target.port)).await,
    };
    dialled.map_err(|error| End::Lost(format!("cannot connect: {error}")))
}

async fn secure(target: &Target, stream: TcpStream) -> Result<Box<dyn Stream>, End> {
    let Some(trusted) = &target.trusted else {
        return Ok(Box::new(stream));
    };
    let refused = |error: &dyn std::fmt::Display| {
        End::Refused(format!(
            "{target}: no TLS connection that can be trusted: {error}; \
             --ca FILE names the certificate to trust"
        ))
    };
    let config = ClientConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&error))?;
    let mut config = config
        .with_root_certificates(trusted.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from(target.host.clone()).map_err(|error| refused(&error))?;
    let connector = TlsConnector::from(Arc::new(config));
    match connector.connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error)
            if error
                .get_ref()
                .is_some_and(|inner| inner.is::<tokio_rustls::rustls::Error>()) =>
        {
            Err(refused(&error))
        }
        Err(error) => Err(End::Lost(format!("TLS: {error}"))),
    }
}

async fn shake_hands(target: &Target, stream: &mut BufReader<Box<dyn Stream>>) -> Result<(), End> {
    let lost = |error: std::io::Error| End::Lost(format!("the opening handshake: {error}"));
    let mut nonce = [0_u8; 16];
    let filled = SystemRandom::new().fill(&mut nonce);
    filled.map_err(|_| End::Refused("the system gave no random bytes".into()))?;
    let key = STANDARD.encode(nonce);
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\
         User-Agent: sidewire/{}\r\n\r\n",
        target.path,
        target.authority(),
        env!("CARGO_PKG_VERSION")
    );
    stream.write_all(request.as_bytes()).await.map_err(lost)?;
    stream.flush().await.map_err(lost)?;
    let mut head = String::new();
    let mut limited = stream.take(HEAD_MAX);
    while !head.ends_with("\r\n\r\n") {
        if limited.read_line(&mut head).await.map_err(lost)? == 0 {
            let words = "the opening handshake: the other side ended it";
            return Err(End::Lost(words.into()));
        }
    }
    judge(target, &head, &accept(&key))
}

/// Whether `head` opens the WebSocket.
fn judge(target: &Target, head: &str, accept: &str) -> Result<(), End> {
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    let code = status.split(' ').nth(1).unwrap_or_default();
    let accepted = lines.any(|line| {
        let field = line.split_once(':');
        field.is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("sec-websocket-accept") && value.trim() == accept
        })
    });
    match code {
        "101" if accepted => Ok(()),
        // Asked too often, or too early: later may do.
        "408" | "429" => Err(End::Lost(format!("answered {status:?}"))),
        code if code.starts_with('5') => Err(End::Lost(format!("answered {status:?}"))),
        _ => Err(End::Refused(format!(
            "{target}: answered {status:?} in place of a WebSocket; \
             are the host and the path (`realtime.path`) right?"
        ))),
    }
}

fn accept(key: &str) -> String {
    let text = [key.as_bytes(), GUID].concat();
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &text))
}

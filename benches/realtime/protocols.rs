//! What a browser says to each server: the way in, when it is in, and what a ping is answered.

use crate::{certificate::HOST, peers::Kind};

/// A browser's answer to what it got.
pub(crate) enum Step {
    Wait,
    Send(Vec<u8>),
    /// Subscribed.
    In,
    Refused,
}

const TEXT: u8 = 1;
const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The request that becomes a WebSocket which carries `channels`.
pub(crate) fn upgrade(kind: Kind, channels: &[usize]) -> String {
    let names = channels.iter().map(|channel| format!("{channel:05}"));
    let names = names.collect::<Vec<_>>().join(",");
    let (target, protocol) = match kind {
        Kind::Sidewire => ("/realtime".into(), ""),
        Kind::Uws | Kind::Ws => (format!("/?c={names}"), ""),
        Kind::Nchan => (format!("/sub?id={names}"), ""),
        Kind::Mosquitto => ("/mqtt".into(), "Sec-WebSocket-Protocol: mqtt\r\n"),
        Kind::SocketIo => (
            format!("/socket.io/?EIO=4&transport=websocket&c={names}"),
            "",
        ),
        Kind::Bare => unreachable!("the bare loop speaks no HTTP"),
    };
    format!(
        "GET {target} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocol}\r\n"
    )
}

/// What the browser sends at once, and whether it is in by the upgrade alone.
pub(crate) fn greeting(kind: Kind, channels: &[usize]) -> Step {
    match kind {
        Kind::Sidewire => {
            let mut commands = String::from("{\"id\":1,\"connect\":{}}");
            for (id, channel) in (2..).zip(channels) {
                let name = sidewire_channel(*channel);
                commands += &format!("\n{{\"id\":{id},\"subscribe\":{{\"channel\":\"{name}\"}}}}");
            }
            Step::Send(text(commands.as_bytes()))
        }
        Kind::Mosquitto => {
            // MQTT 3.1.1, a clean session, no keep-alive, no client id.
            let connect = [0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 0];
            Step::Send(frame(BINARY, &connect))
        }
        Kind::Nchan => Step::In,
        _ => Step::Wait,
    }
}

/// The browser's next step on its way in.
pub(crate) fn next(kind: Kind, channels: &[usize], payload: &[u8]) -> Step {
    let says = |words: &str| {
        let mut windows = payload.windows(words.len());
        windows.any(|window| window == words.as_bytes())
    };
    match kind {
        Kind::Sidewire if says("\"error\"") => Step::Refused,
        Kind::Sidewire if says(&format!("\"id\":{}", channels.len() + 1)) => Step::In,
        Kind::Uws | Kind::Ws if payload == b"ready" => Step::In,
        Kind::SocketIo if payload.starts_with(b"0{") => Step::Send(text(b"40")),
        Kind::SocketIo if payload.starts_with(b"44") => Step::Refused,
        Kind::SocketIo if payload == b"42[\"ready\"]" => Step::In,
        Kind::Mosquitto if payload.starts_with(&[0x20, 2]) => {
            Step::Send(frame(BINARY, &mqtt_subscribe(channels)))
        }
        Kind::Mosquitto if payload.first() == Some(&0x90) => Step::In,
        _ => Step::Wait,
    }
}

/// The answer to a ping of the server's own protocol.
pub(crate) fn pong(kind: Kind, payload: &[u8]) -> Option<Vec<u8>> {
    match (kind, payload) {
        (Kind::Sidewire, b"{}") => Some(text(b"{}")),
        (Kind::SocketIo, b"2") => Some(text(b"3")),
        _ => None,
    }
}

/// A channel's name at Sidewire: of a namespace that it ships, history and all.
pub(crate) fn sidewire_channel(channel: usize) -> String {
    format!("post:{channel}")
}

fn mqtt_subscribe(channels: &[usize]) -> Vec<u8> {
    let length = 2 + channels.len() * 8;
    let mut packet = vec![0x82, u8::try_from(length).unwrap(), 0, 1];
    for channel in channels {
        packet.extend_from_slice(&[0, 5]);
        packet.extend_from_slice(format!("{channel:05}").as_bytes());
        packet.push(0);
    }
    packet
}

/// An MQTT publication of quality 0.
pub(crate) fn mqtt_publish(channel: usize, message: &[u8], packet: &mut Vec<u8>) {
    let length = 7 + message.len();
    packet.clear();
    packet.push(0x30);
    packet.push(u8::try_from(length % 128).unwrap() | 0x80);
    packet.push(u8::try_from(length / 128).unwrap());
    packet.extend_from_slice(&[0, 5]);
    packet.extend_from_slice(format!("{channel:05}").as_bytes());
    packet.extend_from_slice(message);
}

fn text(payload: &[u8]) -> Vec<u8> {
    frame(TEXT, payload)
}

/// A client's frame, masked.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match u8::try_from(payload.len()) {
        Ok(length) if length < 126 => frame.push(0x80 | length),
        _ => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    let masked = payload.iter().zip(MASK.iter().cycle());
    frame.extend(masked.map(|(byte, mask)| byte ^ mask));
    frame
}

/// A server's frame at the start of `bytes`: its opcode, its payload, and its length in all.
pub(crate) fn parse(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (start, length) = match *bytes.get(1)? {
        126 => (
            4,
            usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)),
        ),
        127 => {
            let length = u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
            (10, usize::try_from(length).unwrap())
        }
        short => (2, usize::from(short)),
    };
    let payload = bytes.get(start..start + length)?;
    Some((bytes[0] & 0x0f, payload, start + length))
}

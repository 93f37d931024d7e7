//! The kinds of clients, each with its own words for the same thing.

/// What a client speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Centrifugal's client protocol over a WebSocket.
    Protocol,
    /// Bare event JSON over a WebSocket.
    Plain,
    /// Server-sent events.
    EventStream,
}

//! Sidewire: a front for WordPress that carries the site's live pages itself.
//!
//! ```text
//! browser ─TLS─▶ listener ─▶ tls ─▶ front ─▶ router ─┬─▶ upstream      Apache, nginx
//!                                                    ├─▶ fastcgi       PHP-FPM
//!                                                    ├─▶ static_files  the document root
//!                                                    └─▶ realtime      WebSocket
//! PHP ─Unix socket─▶ publish ─▶ auth ─▶ broker ─▶ realtime::hub ─▶ connection ─▶ browser
//! ```
//!
//! Data flows one way, and a module may import only what stands above it in this list; a test
//! holds the table of `docs/ARCHITECTURE.md`.

pub mod config;
pub mod shutdown;

pub mod auth;
pub mod exchange;
pub mod router;
pub mod telemetry;

pub mod listener;
pub mod tls;

pub mod fastcgi;
pub mod static_files;
pub mod upstream;

pub mod broker;
pub mod realtime;

pub mod publish;

pub mod admin;
pub mod front;

pub mod server;

pub mod command;

pub mod cli;

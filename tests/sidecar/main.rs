//! Promises of the built program and of the documents beside it.

mod certificate_reload;
mod commands;
mod config_faults;
mod document_root;
mod documents;
mod fan_out;
mod harness;
mod layering;
mod limits;
mod metrics;
mod php_fpm;
mod plain_stream;
mod publish;
mod publish_batches;
mod publish_repeats;
mod reload;
mod stop;
mod tail;
mod tokens;
mod upstream;
mod websocket;
mod websocket_frames;

//! Promises of the built program and of the documents beside it.

mod certificate_reload;
mod config_faults;
mod document_root;
mod documents;
mod fan_out;
mod harness;
mod layering;
mod limits;
mod php_fpm;
mod plain_stream;
mod publish;
mod publish_batches;
mod publish_fields;
mod publish_limits;
mod publish_methods;
mod publish_repeats;
mod stop;
mod tokens;
mod two_sites;
mod upstream;
mod websocket;
mod websocket_frames;
mod websocket_violations;

//! Promises of the built program and of the documents beside it.

mod documents;
mod layering;

//! Does this signature hold, now?
//!
//! Pure: no socket, no file, no clock of its own; what time it is, is an argument.

pub mod signature;

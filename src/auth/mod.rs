//! Does this signature or token hold, now?
//!
//! Pure: no socket, no file, no clock of its own; what time it is, is an argument.

mod claims;
pub mod jwks;
#[cfg(test)]
mod jwks_tests;
mod object;
pub mod signature;
pub mod token;
#[cfg(test)]
mod token_tests;

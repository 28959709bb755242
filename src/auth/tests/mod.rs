//! Logging in, in process.

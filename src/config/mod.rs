//! Environment -> `Config`.

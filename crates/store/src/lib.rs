//! The store part of Gantry.

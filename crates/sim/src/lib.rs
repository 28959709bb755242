//! The sim part of Gantry.

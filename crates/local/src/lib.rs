//! The local part of Gantry.

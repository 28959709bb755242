//! The Gantry service.

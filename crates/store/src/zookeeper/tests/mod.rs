//! Against real servers. Where none is installed nothing is checked; see `gantry-testbed`.

mod conformance;
mod support;

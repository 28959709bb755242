//! Against real servers. Where none is installed nothing is checked; see `gantry-testbed`.

mod access;
mod conformance;
mod faults;
mod leadership;
mod original;
mod support;

//! Several Gantrys of one framework on real ZooKeeper servers, and what happens to them.
//!
//! Everything is real: `gantry serve` and `gantry local` as processes, one ZooKeeper server or an
//! ensemble of three, proxies on every connection that can be cut. The cluster is the witness
//! ([`watch`]), not Gantry.

mod away;
mod client;
mod ends;
mod fault;
mod roles;
mod rounds;
mod site;
mod takeover;
mod terms;
mod upgrade;
mod watch;

//! Quantities in fixed point, port ranges, and what an offer holds.
//!
//! Mesos compares scalars after rounding to thousandths (`src/common/values.cpp`); so do we, by
//! keeping integers of thousandths and never a sum of floats.

use std::{
    fmt,
    ops::{Add, AddAssign, Sub, SubAssign},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

/// A quantity in thousandths: of a cpu, of a megabyte, of a gpu.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Amount(u64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From thousandths.
    pub const fn from_thousandths(thousandths: u64) -> Self {
        Self(thousandths)
    }

    /// From whole units.
    pub const fn from_units(units: u64) -> Self {
        Self(units.saturating_mul(1000))
    }

    /// Rounds to the nearest thousandth as Mesos does. Negative, infinite and NaN become zero.
    pub fn from_f64(value: f64) -> Self {
        if value.is_finite() && value > 0.0 {
            Self((value * 1000.0).round() as u64)
        } else {
            Self(0)
        }
    }

    /// As the double that Mesos carries.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// In thousandths.
    pub const fn thousandths(self) -> u64 {
        self.0
    }

    /// True for nothing.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// `self - other`, or zero.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add for Amount {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Amount {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.saturating_sub(other)
    }
}

impl SubAssign for Amount {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_f64())
    }
}

/// What one task needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Demand {
    /// Processor shares.
    pub cpus: Amount,
    /// Memory in megabytes.
    pub mem: Amount,
    /// Disk in megabytes.
    #[serde(default)]
    pub disk: Amount,
    /// Whole gpus (Mesos refuses fractions).
    #[serde(default)]
    pub gpus: Amount,
    /// Host ports that must be exactly these, ascending and without repetition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixed_ports: Vec<u16>,
    /// How many more host ports, whichever are free.
    #[serde(default)]
    pub dynamic_ports: u16,
}

impl Demand {
    /// All host ports together.
    pub fn port_count(&self) -> usize {
        self.fixed_ports.len() + usize::from(self.dynamic_ports)
    }
}

/// The scalar resources that tasks can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scalar {
    /// `cpus`
    Cpus,
    /// `mem`, megabytes
    Mem,
    /// `disk`, megabytes
    Disk,
    /// `gpus`
    Gpus,
}

impl Scalar {
    /// Every scalar, in the order of [`Scalar::index`].
    pub const ALL: [Self; 4] = [Self::Cpus, Self::Mem, Self::Disk, Self::Gpus];

    /// Position in arrays of amounts.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpus => "cpus",
            Self::Mem => "mem",
            Self::Disk => "disk",
            Self::Gpus => "gpus",
        }
    }
}

impl Demand {
    /// The amounts in the order of [`Scalar::ALL`].
    pub fn scalars(&self) -> [Amount; 4] {
        [self.cpus, self.mem, self.disk, self.gpus]
    }
}

/// What makes two entries of one resource name different kinds: the stack of reservations.
/// Empty means unreserved. Kept to be packed back exactly as offered (protocol: `Resource.reservations`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reservations(pub Vec<Reservation>);

/// One level of a reservation stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reservation {
    /// Dynamic, or static (from the agent's configuration).
    pub dynamic: bool,
    /// The role it is reserved for.
    pub role: String,
    /// Who made it.
    pub principal: Option<String>,
    /// Its labels, in order; a label may lack a value.
    pub labels: Vec<(String, Option<String>)>,
}

/// A closed interval of ports.
pub type PortRange = (u16, u16);

/// A set of ports as ascending, disjoint, non-adjacent closed ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortSet {
    ranges: SmallVec<[PortRange; 2]>,
}

impl PortSet {
    /// From ranges in any order; overlapping and adjacent ones are merged, inverted ones ignored.
    pub fn from_ranges(ranges: impl IntoIterator<Item = PortRange>) -> Self {
        let mut sorted: SmallVec<[PortRange; 2]> = ranges
            .into_iter()
            .filter(|(begin, end)| begin <= end)
            .collect();
        sorted.sort_unstable();
        let mut merged: SmallVec<[PortRange; 2]> = SmallVec::new();
        for (begin, end) in sorted {
            match merged.last_mut() {
                Some(last) if u32::from(begin) <= u32::from(last.1) + 1 => last.1 = last.1.max(end),
                _ => merged.push((begin, end)),
            }
        }
        Self { ranges: merged }
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> &[PortRange] {
        &self.ranges
    }

    /// How many ports.
    pub fn len(&self) -> usize {
        self.ranges
            .iter()
            .map(|(begin, end)| usize::from(end - begin) + 1)
            .sum()
    }

    /// True without ports.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether `port` is in the set.
    pub fn contains(&self, port: u16) -> bool {
        self.ranges
            .iter()
            .any(|(begin, end)| (*begin..=*end).contains(&port))
    }

    /// Takes `port` out; false when it was not there.
    pub fn remove(&mut self, port: u16) -> bool {
        let Some(position) = self
            .ranges
            .iter()
            .position(|(begin, end)| (*begin..=*end).contains(&port))
        else {
            return false;
        };
        let (begin, end) = self.ranges[position];
        match (begin == port, end == port) {
            (true, true) => {
                self.ranges.remove(position);
            }
            (true, false) => self.ranges[position].0 = port + 1,
            (false, true) => self.ranges[position].1 = port - 1,
            (false, false) => {
                self.ranges[position].1 = port - 1;
                self.ranges.insert(position + 1, (port + 1, end));
            }
        }
        true
    }

    /// The lowest port that `skip` does not hold for.
    pub fn first_except(&self, skip: impl Fn(u16) -> bool) -> Option<u16> {
        self.ranges
            .iter()
            .flat_map(|(begin, end)| *begin..=*end)
            .find(|port| !skip(*port))
    }

    /// Takes the lowest port out.
    pub fn pop_first(&mut self) -> Option<u16> {
        let first = self.ranges.first()?.0;
        self.remove(first);
        Some(first)
    }
}

/// One entry of an offer: an amount of one scalar, or a set of ports, of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferEntry {
    /// Which kind.
    pub reservations: Arc<Reservations>,
    /// How much.
    pub value: EntryValue,
}

/// How much of what an [`OfferEntry`] holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryValue {
    /// An amount of a scalar.
    Scalar(Scalar, Amount),
    /// A set of ports.
    Ports(PortSet),
}

/// A part of an offer entry given to one task, in the kind it was offered in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// An amount of a scalar.
    Scalar {
        /// Of what.
        scalar: Scalar,
        /// How much.
        amount: Amount,
        /// From which kind.
        reservations: Arc<Reservations>,
    },
    /// A single port.
    Port {
        /// The port.
        port: u16,
        /// From which kind.
        reservations: Arc<Reservations>,
    },
}

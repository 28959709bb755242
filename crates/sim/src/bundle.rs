//! Resources as the master counts them.

use std::{collections::BTreeMap, sync::Arc};

use gantry_core::{Amount, EntryValue, OfferEntry, Piece, PortSet, Reservations, Scalar};

use crate::plan::PORTS_FROM;

type Kind = Arc<Reservations>;

/// An amount of each scalar and a set of ports, of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bundle {
    scalars: BTreeMap<(Kind, Scalar), Amount>,
    /// One bit a port, from [`PORTS_FROM`].
    ports: BTreeMap<Kind, u128>,
}

impl Bundle {
    pub(crate) fn add_scalar(&mut self, kind: &Kind, scalar: Scalar, amount: Amount) {
        if !amount.is_zero() {
            *self.scalars.entry((kind.clone(), scalar)).or_default() += amount;
        }
    }

    /// Adds a port; an error when it is there already, or none of a world's.
    pub(crate) fn add_port(&mut self, kind: &Kind, port: u16) -> Result<(), String> {
        let bit = port
            .checked_sub(PORTS_FROM)
            .and_then(|offset| 1_u128.checked_shl(u32::from(offset)))
            .ok_or_else(|| format!("port {port}, which nobody has"))?;
        let ports = self.ports.entry(kind.clone()).or_default();
        if *ports & bit != 0 {
            return Err(format!("port {port} twice"));
        }
        *ports |= bit;
        Ok(())
    }

    /// What a launch asks for.
    pub(crate) fn of_pieces(pieces: &[Piece]) -> Result<Self, String> {
        let mut bundle = Self::default();
        for piece in pieces {
            match piece {
                Piece::Scalar {
                    scalar,
                    amount,
                    reservations,
                } => bundle.add_scalar(reservations, *scalar, *amount),
                Piece::Port { port, reservations } => bundle.add_port(reservations, *port)?,
            }
        }
        Ok(bundle)
    }

    /// As entries of an offer.
    pub(crate) fn entries(&self) -> Vec<OfferEntry> {
        let scalars = self
            .scalars
            .iter()
            .map(|((kind, scalar), amount)| OfferEntry {
                reservations: kind.clone(),
                value: EntryValue::Scalar(*scalar, *amount),
            });
        let ports = self.ports.iter().map(|(kind, bits)| {
            let ports = numbers(*bits).map(|port| (port, port));
            OfferEntry {
                reservations: kind.clone(),
                value: EntryValue::Ports(PortSet::from_ranges(ports)),
            }
        });
        scalars.chain(ports).collect()
    }

    pub(crate) fn contains(&self, other: &Self) -> bool {
        let ports = other
            .ports
            .iter()
            .all(|(kind, bits)| bits & !self.ports.get(kind).copied().unwrap_or(0) == 0);
        let mut scalars = other.scalars.iter();
        ports && scalars.all(|(key, amount)| self.scalars.get(key).is_some_and(|own| own >= amount))
    }

    pub(crate) fn remove(&mut self, other: &Self) {
        for (key, amount) in &other.scalars {
            if let Some(own) = self.scalars.get_mut(key) {
                *own -= *amount;
            }
        }
        self.scalars.retain(|_, amount| !amount.is_zero());
        for (kind, bits) in &other.ports {
            if let Some(own) = self.ports.get_mut(kind) {
                *own &= !bits;
            }
        }
        self.ports.retain(|_, bits| *bits != 0);
    }

    /// The sum over all kinds.
    pub(crate) fn total(&self, scalar: Scalar) -> Amount {
        self.scalars
            .iter()
            .filter(|((_, own), _)| *own == scalar)
            .fold(Amount::ZERO, |sum, (_, amount)| sum + *amount)
    }

    /// The ports of all kinds.
    pub(crate) fn ports(&self) -> Vec<u16> {
        self.ports
            .values()
            .flat_map(|bits| numbers(*bits))
            .collect()
    }

    /// Whether the master thinks it worth an offer (`--min_allocatable_resources`).
    pub(crate) fn is_allocatable(&self) -> bool {
        self.total(Scalar::Cpus) >= Amount::from_thousandths(10)
            || self.total(Scalar::Mem) >= Amount::from_units(32)
    }
}

fn numbers(bits: u128) -> impl Iterator<Item = u16> {
    (0..128_u16)
        .filter(move |offset| bits >> offset & 1 == 1)
        .map(|offset| PORTS_FROM + offset)
}

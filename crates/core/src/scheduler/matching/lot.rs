//! An offer in the course of a cycle: what is left of it, and what it is used for.

use smallvec::SmallVec;

use super::{super::offers::HeldOffer, FixedPorts};
use crate::{Amount, Demand, EntryValue, Launch, NearMiss, Offer, Piece, Scalar, Timestamp};

/// An offer in the course of a cycle. The entries of `offer` are what is left.
#[derive(Debug)]
pub(super) struct Lot {
    pub(super) arrival: u64,
    pub(super) since: Timestamp,
    pub(super) offer: Offer,
    /// Sums of the scalar entries, in the order of [`Scalar::ALL`].
    free: [Amount; 4],
    free_ports: usize,
    pub(super) launches: Vec<Launch>,
    /// A waiting instance would fit, had the agent a free starting place.
    pub(super) wanted_by_blocked: bool,
}

impl Lot {
    pub(super) fn new(arrival: u64, held: HeldOffer) -> Self {
        let mut free = [Amount::ZERO; 4];
        let mut free_ports = 0;
        for entry in &held.offer.entries {
            match &entry.value {
                EntryValue::Scalar(scalar, amount) => free[scalar.index()] += *amount,
                EntryValue::Ports(ports) => free_ports += ports.len(),
            }
        }
        Self {
            arrival,
            since: held.since,
            offer: held.offer,
            free,
            free_ports,
            launches: Vec::new(),
            wanted_by_blocked: false,
        }
    }

    /// How many tasks of this demand the scalars suffice for.
    pub(super) fn room_by_scalars(&self, demand: &Demand) -> u32 {
        let mut room = u64::from(u32::MAX);
        for (need, free) in demand.scalars().into_iter().zip(self.free) {
            if !need.is_zero() {
                room = room.min(free.thousandths() / need.thousandths());
            }
        }
        room as u32
    }

    /// How many tasks of this demand the ports suffice for.
    pub(super) fn room_by_ports(&self, demand: &Demand) -> u32 {
        if demand.port_count() == 0 {
            return u32::MAX;
        }
        let room = (self.free_ports / demand.port_count()) as u32;
        if demand.fixed_ports.is_empty() {
            return room;
        }
        let has_all = demand.fixed_ports.iter().all(|port| {
            self.offer.entries.iter().any(
                |entry| matches!(&entry.value, EntryValue::Ports(ports) if ports.contains(*port)),
            )
        });
        if has_all { room.min(1) } else { 0 }
    }

    /// How far the scalars are from sufficing: the largest part missing of any, in thousandths.
    pub(super) fn lack(&self, demand: &Demand) -> u64 {
        demand
            .scalars()
            .into_iter()
            .zip(self.free)
            .filter(|(need, _)| !need.is_zero())
            .map(|(need, free)| {
                need.saturating_sub(free).thousandths().saturating_mul(1000) / need.thousandths()
            })
            .max()
            .unwrap_or(0)
    }

    /// What is missing for one task, in words.
    pub(super) fn near_miss(&self, demand: &Demand) -> NearMiss {
        let mut lacks: Vec<String> = Scalar::ALL
            .into_iter()
            .zip(demand.scalars())
            .zip(self.free)
            .map(|((scalar, need), free)| (scalar, need.saturating_sub(free)))
            .filter(|(_, missing)| !missing.is_zero())
            .map(|(scalar, missing)| format!("{missing} {}", scalar.name()))
            .collect();
        if self.room_by_ports(demand) == 0 {
            let taken: Vec<_> = demand
                .fixed_ports
                .iter()
                .filter(|port| {
                    !self.offer.entries.iter().any(
                        |entry| matches!(&entry.value, EntryValue::Ports(ports) if ports.contains(**port)),
                    )
                })
                .map(u16::to_string)
                .collect();
            lacks.push(if taken.is_empty() {
                format!(
                    "{} ports",
                    demand.port_count().saturating_sub(self.free_ports)
                )
            } else {
                format!("port {}", taken.join(", "))
            });
        }
        NearMiss {
            hostname: self.offer.agent.hostname.clone(),
            lacks: lacks.join(", "),
        }
    }

    /// Takes what one task needs out of the offer, each piece in the kind it was offered in.
    /// `None`, with nothing taken, when it does not suffice.
    pub(super) fn carve(
        &mut self,
        demand: &Demand,
        fixed: &FixedPorts,
    ) -> Option<(Vec<Piece>, Vec<u16>)> {
        if self.room_by_scalars(demand) == 0 || self.room_by_ports(demand) == 0 {
            return None;
        }
        let mut pieces = Vec::with_capacity(2 + demand.port_count());
        for (scalar, need) in Scalar::ALL.into_iter().zip(demand.scalars()) {
            self.carve_scalar(scalar, need, &mut pieces);
        }
        let mut ports = Vec::with_capacity(demand.port_count());
        for port in &demand.fixed_ports {
            self.carve_port(
                |set| set.remove(*port).then_some(*port),
                &mut pieces,
                &mut ports,
            );
        }
        for _ in 0..demand.dynamic_ports {
            // Ports that some service insists on come last.
            let free = |set: &mut crate::PortSet| {
                let port = set.first_except(|port| fixed.contains(&port))?;
                set.remove(port).then_some(port)
            };
            if !self.carve_port(free, &mut pieces, &mut ports) {
                self.carve_port(crate::PortSet::pop_first, &mut pieces, &mut ports);
            }
        }
        Some((pieces, ports))
    }

    fn carve_scalar(&mut self, scalar: Scalar, mut need: Amount, pieces: &mut Vec<Piece>) {
        self.free[scalar.index()] -= need;
        for entry in &mut self.offer.entries {
            let EntryValue::Scalar(kind, left) = &mut entry.value else {
                continue;
            };
            if *kind != scalar || need.is_zero() || left.is_zero() {
                continue;
            }
            let amount = need.min(*left);
            *left -= amount;
            need -= amount;
            pieces.push(Piece::Scalar {
                scalar,
                amount,
                reservations: entry.reservations.clone(),
            });
        }
    }

    fn carve_port(
        &mut self,
        take: impl Fn(&mut crate::PortSet) -> Option<u16>,
        pieces: &mut Vec<Piece>,
        ports: &mut Vec<u16>,
    ) -> bool {
        for entry in &mut self.offer.entries {
            let EntryValue::Ports(set) = &mut entry.value else {
                continue;
            };
            if let Some(port) = take(set) {
                self.free_ports -= 1;
                pieces.push(Piece::Port {
                    port,
                    reservations: entry.reservations.clone(),
                });
                ports.push(port);
                return true;
            }
        }
        false
    }
}

/// Values of the fields that constraints look at, in their order.
pub(super) type FieldValues<'a> = SmallVec<[Option<&'a str>; 2]>;

//! Resources as Mesos counts them: thousandths, coalesced ranges, and pieces that
//! are told apart by their marks (reservations, disk, …).

use std::borrow::Cow;
use std::fmt::{self, Display, Write as _};
use std::sync::Arc;

use gantry_mesos::v1::resource::reservation_info::Type as ReservationType;
use gantry_mesos::v1::resource::{AllocationInfo, DiskInfo, ReservationInfo, disk_info};
use gantry_mesos::v1::{Resource, ResourceProviderId, value};

/// What tells two pieces of one name apart (Mesos `src/v1/resources.cpp: addable`),
/// but for the allocation, which is kept beside the bag.
#[derive(Clone, Debug, Default, PartialEq)]
struct Marks {
    reservations: Vec<ReservationInfo>,
    disk: Option<DiskInfo>,
    revocable: bool,
    shared: bool,
    provider: Option<ResourceProviderId>,
}

#[derive(Clone, Debug, PartialEq)]
enum Amount {
    /// Thousandths.
    Scalar(i64),
    /// Inclusive, sorted, coalesced.
    Ranges(Vec<(u64, u64)>),
    Set(Vec<String>),
}

#[derive(Clone, Debug)]
struct Piece {
    name: Cow<'static, str>,
    marks: Option<Arc<Marks>>,
    amount: Amount,
}

/// A sum of resources.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bag(Vec<Piece>);

/// A scalar of Mesos in thousandths; what is beyond three decimals is rounded away.
pub(crate) fn thousandths(value: f64) -> i64 {
    #[allow(clippy::cast_possible_truncation)]
    {
        (value * 1000.0).round() as i64
    }
}

fn scalar(thousandths: i64) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    {
        thousandths as f64 / 1000.0
    }
}

fn name_of(name: &str) -> Cow<'static, str> {
    match name {
        "cpus" => Cow::Borrowed("cpus"),
        "mem" => Cow::Borrowed("mem"),
        "disk" => Cow::Borrowed("disk"),
        "ports" => Cow::Borrowed("ports"),
        "gpus" => Cow::Borrowed("gpus"),
        other => Cow::Owned(other.to_owned()),
    }
}

/// Whether what is reserved for `reserved` may be used by `role`: the same role or a
/// descendant of it.
pub(crate) fn usable_by(reserved: &str, role: &str) -> bool {
    role.strip_prefix(reserved)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Marks {
    fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Volumes and whole disks are never merged nor split.
    fn is_whole(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| {
            disk.persistence.is_some()
                || disk
                    .source
                    .as_ref()
                    .is_some_and(|s| s.r#type() != disk_info::source::Type::Path)
        })
    }
}

impl Piece {
    fn parse(resource: &Resource) -> Option<Self> {
        let amount = match value::Type::try_from(resource.r#type).ok()? {
            value::Type::Scalar => {
                let value = thousandths(resource.scalar.as_ref()?.value);
                if value == 0 {
                    return None;
                }
                Amount::Scalar(value)
            }
            value::Type::Ranges => {
                let ranges = resource.ranges.as_ref()?;
                Amount::Ranges(coalesce(
                    ranges.range.iter().map(|r| (r.begin, r.end)).collect(),
                ))
            }
            value::Type::Set => Amount::Set(resource.set.as_ref()?.item.clone()),
            value::Type::Text => return None,
        };
        let marks = Marks {
            reservations: reservations(resource),
            disk: resource.disk.clone(),
            revocable: resource.revocable.is_some(),
            shared: resource.shared.is_some(),
            provider: resource.provider_id.clone(),
        };
        let marks = (!marks.is_plain()).then(|| Arc::new(marks));
        Some(Self {
            name: name_of(&resource.name),
            marks,
            amount,
        })
    }

    fn same_kind(&self, other: &Self) -> bool {
        self.name == other.name
            && std::mem::discriminant(&self.amount) == std::mem::discriminant(&other.amount)
            && match (&self.marks, &other.marks) {
                (None, None) => true,
                (Some(a), Some(b)) => Arc::ptr_eq(a, b) || a == b,
                _ => false,
            }
    }

    fn is_whole(&self) -> bool {
        self.marks.as_ref().is_some_and(|m| m.is_whole())
    }

    fn is_empty(&self) -> bool {
        match &self.amount {
            Amount::Scalar(value) => *value == 0,
            Amount::Ranges(ranges) => ranges.is_empty(),
            Amount::Set(items) => items.is_empty(),
        }
    }

    fn contains(&self, other: &Self) -> bool {
        match (&self.amount, &other.amount) {
            (Amount::Scalar(a), Amount::Scalar(b)) if self.is_whole() => a == b,
            (Amount::Scalar(a), Amount::Scalar(b)) => a >= b,
            (Amount::Ranges(a), Amount::Ranges(b)) => b
                .iter()
                .all(|(begin, end)| a.iter().any(|(from, to)| from <= begin && end <= to)),
            (Amount::Set(a), Amount::Set(b)) => b.iter().all(|item| a.contains(item)),
            _ => false,
        }
    }

    fn reservations(&self) -> &[ReservationInfo] {
        self.marks.as_ref().map_or(&[], |m| &m.reservations)
    }

    fn to_resource(&self, allocated: Option<&str>, refined: bool) -> Resource {
        let mut resource = Resource {
            name: self.name.clone().into_owned(),
            ..Resource::default()
        };
        match &self.amount {
            Amount::Scalar(value) => {
                resource.set_type(value::Type::Scalar);
                resource.scalar = Some(value::Scalar {
                    value: scalar(*value),
                });
            }
            Amount::Ranges(ranges) => {
                resource.set_type(value::Type::Ranges);
                let range = ranges
                    .iter()
                    .map(|&(begin, end)| value::Range { begin, end })
                    .collect();
                resource.ranges = Some(value::Ranges { range });
            }
            Amount::Set(items) => {
                resource.set_type(value::Type::Set);
                resource.set = Some(value::Set {
                    item: items.clone(),
                });
            }
        }
        if let Some(marks) = &self.marks {
            resource.disk.clone_from(&marks.disk);
            resource.provider_id.clone_from(&marks.provider);
            resource.revocable = marks.revocable.then(Default::default);
            resource.shared = marks.shared.then(Default::default);
            if refined {
                resource.reservations.clone_from(&marks.reservations);
            } else if let Some(last) = marks.reservations.last() {
                resource.role.clone_from(&last.role);
                if last.r#type() == ReservationType::Dynamic {
                    resource.reservation = Some(ReservationInfo {
                        r#type: None,
                        role: None,
                        ..last.clone()
                    });
                }
            }
        }
        if !refined && self.reservations().is_empty() {
            resource.role = Some("*".to_owned());
        }
        resource.allocation_info = allocated.map(|role| AllocationInfo {
            role: Some(role.to_owned()),
        });
        resource
    }
}

/// The reservation stack, from either of the two formats.
fn reservations(resource: &Resource) -> Vec<ReservationInfo> {
    if !resource.reservations.is_empty() {
        return resource.reservations.clone();
    }
    let role = resource.role.as_deref().unwrap_or("*");
    match &resource.reservation {
        Some(dynamic) => {
            let mut reservation = dynamic.clone();
            reservation.set_type(ReservationType::Dynamic);
            reservation.role = Some(role.to_owned());
            vec![reservation]
        }
        None if role == "*" => Vec::new(),
        None => {
            let mut reservation = ReservationInfo {
                role: Some(role.to_owned()),
                ..ReservationInfo::default()
            };
            reservation.set_type(ReservationType::Static);
            vec![reservation]
        }
    }
}

fn coalesce(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut out: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
    for (begin, end) in ranges {
        match out.last_mut() {
            Some(last) if begin <= last.1.saturating_add(1) => last.1 = last.1.max(end),
            _ => out.push((begin, end)),
        }
    }
    out
}

fn subtract_ranges(from: &[(u64, u64)], what: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut left = from.to_vec();
    for &(begin, end) in what {
        left = left
            .into_iter()
            .flat_map(|(a, b)| {
                if end < a || b < begin {
                    return [Some((a, b)), None];
                }
                [
                    (a < begin).then(|| (a, begin - 1)),
                    (b > end).then(|| (end + 1, b)),
                ]
            })
            .flatten()
            .collect();
    }
    left
}

impl Bag {
    pub(crate) fn parse(resources: &[Resource]) -> Self {
        let mut bag = Self::default();
        for piece in resources.iter().filter_map(Piece::parse) {
            bag.put(piece);
        }
        bag
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn put(&mut self, piece: Piece) {
        if piece.is_empty() {
            return;
        }
        let whole = piece.is_whole();
        match self.0.iter_mut().find(|p| !whole && p.same_kind(&piece)) {
            Some(present) => match (&mut present.amount, piece.amount) {
                (Amount::Scalar(a), Amount::Scalar(b)) => *a += b,
                (Amount::Ranges(a), Amount::Ranges(b)) => {
                    let mut all = std::mem::take(a);
                    all.extend(b);
                    *a = coalesce(all);
                }
                (Amount::Set(a), Amount::Set(b)) => {
                    for item in b {
                        if !a.contains(&item) {
                            a.push(item);
                        }
                    }
                }
                _ => {}
            },
            None => self.0.push(piece),
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for piece in &other.0 {
            self.put(piece.clone());
        }
    }

    pub(crate) fn plus(mut self, other: &Self) -> Self {
        self.add(other);
        self
    }

    /// Whether all of `other` is in here.
    pub(crate) fn contains(&self, other: &Self) -> bool {
        other.0.iter().all(|wanted| {
            self.0
                .iter()
                .any(|have| have.same_kind(wanted) && have.contains(wanted))
        })
    }

    /// Takes `other` out. What is not there is ignored: check [`Self::contains`] first.
    pub(crate) fn subtract(&mut self, other: &Self) {
        for wanted in &other.0 {
            let Some(at) = self
                .0
                .iter()
                .position(|have| have.same_kind(wanted) && have.contains(wanted))
            else {
                continue;
            };
            match (&mut self.0[at].amount, &wanted.amount) {
                (Amount::Scalar(a), Amount::Scalar(b)) => *a -= b,
                (Amount::Ranges(a), Amount::Ranges(b)) => *a = subtract_ranges(a, b),
                (Amount::Set(a), Amount::Set(b)) => a.retain(|item| !b.contains(item)),
                _ => {}
            }
            if self.0[at].is_empty() {
                self.0.remove(at);
            }
        }
    }

    fn filtered(&self, keep: impl Fn(&Piece) -> bool) -> Self {
        Self(self.0.iter().filter(|p| keep(p)).cloned().collect())
    }

    /// What a framework of this role may be given, by what it can cope with.
    pub(crate) fn offerable(&self, role: &str, refinement: bool, shared: bool) -> Self {
        self.filtered(|piece| {
            let reservations = piece.reservations();
            let reserved_for = reservations.last().and_then(|r| r.role.as_deref());
            reserved_for.is_none_or(|reserved| usable_by(reserved, role))
                && (refinement || reservations.len() < 2)
                && (shared || !piece.marks.as_ref().is_some_and(|m| m.shared))
        })
    }

    /// The sum of a name over all pieces, in thousandths.
    pub(crate) fn total(&self, name: &str) -> i64 {
        self.0
            .iter()
            .filter(|p| p.name == name)
            .map(|p| match p.amount {
                Amount::Scalar(value) => value,
                _ => 0,
            })
            .sum()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|p| p.name == name)
    }

    /// The sums of all scalars by name, as numbers.
    pub(crate) fn scalars(&self) -> Vec<(String, f64)> {
        let mut out: Vec<(String, f64)> = Vec::new();
        for piece in &self.0 {
            if let Amount::Scalar(value) = piece.amount {
                match out.iter_mut().find(|(name, _)| *name == piece.name) {
                    Some((_, sum)) => *sum += scalar(value),
                    None => out.push((piece.name.clone().into_owned(), scalar(value))),
                }
            }
        }
        out
    }

    /// All ranges of a name in the text form of the legacy endpoints: `[31000-31999]`.
    pub(crate) fn ranges_text(&self, name: &str) -> Option<String> {
        let mut all = Vec::new();
        for piece in &self.0 {
            if let Amount::Ranges(ranges) = &piece.amount
                && piece.name == name
            {
                all.extend(ranges.iter().copied());
            }
        }
        (!all.is_empty()).then(|| range_text(&coalesce(all)))
    }

    /// As messages. `allocated` fills `allocation_info`; `refined` chooses between
    /// `reservations` and the older `role` and `reservation`.
    pub(crate) fn to_resources(&self, allocated: Option<&str>, refined: bool) -> Vec<Resource> {
        self.0
            .iter()
            .map(|p| p.to_resource(allocated, refined))
            .collect()
    }

    /// The text Mesos puts into error messages.
    pub(crate) fn text(&self, allocated: Option<&str>) -> String {
        let resources = self.to_resources(allocated, true);
        let texts: Vec<String> = resources
            .iter()
            .map(|r| ResourceText(r).to_string())
            .collect();
        if texts.is_empty() {
            "{}".to_owned()
        } else {
            texts.join("; ")
        }
    }

    /// Ids of the persistent volumes in here.
    pub(crate) fn volume_ids(&self) -> Vec<String> {
        self.0
            .iter()
            .filter_map(|p| {
                Some(
                    p.marks
                        .as_ref()?
                        .disk
                        .as_ref()?
                        .persistence
                        .as_ref()?
                        .id
                        .clone(),
                )
            })
            .collect()
    }

    /// The persistent volumes in here: id and path in the sandbox.
    pub(crate) fn volumes(&self) -> Vec<(String, String)> {
        self.0
            .iter()
            .filter_map(|p| {
                let disk = p.marks.as_ref()?.disk.as_ref()?;
                let path = disk.volume.as_ref()?.container_path.clone();
                Some((disk.persistence.as_ref()?.id.clone(), path))
            })
            .collect()
    }

    /// The same amounts with the last reservation taken away.
    pub(crate) fn pop_reservation(&self) -> Self {
        self.remarked(|marks| {
            marks.reservations.pop();
        })
    }

    /// The same amounts as plain disk, without volume.
    pub(crate) fn without_volume(&self) -> Self {
        self.remarked(|marks| {
            if let Some(disk) = &mut marks.disk {
                disk.persistence = None;
                disk.volume = None;
            }
            if marks.disk == Some(DiskInfo::default()) {
                marks.disk = None;
            }
            marks.shared = false;
        })
    }

    fn remarked(&self, change: impl Fn(&mut Marks)) -> Self {
        let mut out = Self::default();
        for piece in &self.0 {
            let mut marks = piece.marks.as_deref().cloned().unwrap_or_default();
            change(&mut marks);
            let marks = (!marks.is_plain()).then(|| Arc::new(marks));
            out.put(Piece {
                marks,
                ..piece.clone()
            });
        }
        out
    }
}

/// A resource in the text form of Mesos: `cpus(allocated: web)(reservations: [(STATIC,web)]):1`.
pub(crate) struct ResourceText<'a>(pub(crate) &'a Resource);

impl Display for ResourceText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resource = self.0;
        f.write_str(&resource.name)?;
        if let Some(role) = resource
            .allocation_info
            .as_ref()
            .and_then(|a| a.role.as_deref())
        {
            write!(f, "(allocated: {role})")?;
        }
        let stack = reservations(resource);
        if !stack.is_empty() {
            f.write_str("(reservations: [")?;
            for (i, reservation) in stack.iter().enumerate() {
                let comma = if i == 0 { "" } else { "," };
                let kind = if reservation.r#type() == ReservationType::Dynamic {
                    "DYNAMIC"
                } else {
                    "STATIC"
                };
                write!(f, "{comma}({kind},{}", reservation.role())?;
                if let Some(principal) = &reservation.principal {
                    write!(f, ",{principal}")?;
                }
                f.write_char(')')?;
            }
            f.write_str("])")?;
        }
        if let Some(disk) = &resource.disk {
            let id = disk.persistence.as_ref().map_or("", |p| &p.id);
            let path = disk.volume.as_ref().map_or("", |v| &v.container_path);
            write!(f, "[{id}:{path}]")?;
        }
        if resource.revocable.is_some() {
            f.write_str("{REV}")?;
        }
        if resource.shared.is_some() {
            f.write_str("<SHARED>")?;
        }
        f.write_char(':')?;
        match value::Type::try_from(resource.r#type) {
            Ok(value::Type::Ranges) => {
                let ranges = resource.ranges.iter().flat_map(|r| &r.range);
                f.write_str(&range_text(
                    &ranges.map(|r| (r.begin, r.end)).collect::<Vec<_>>(),
                ))
            }
            Ok(value::Type::Set) => {
                let items = resource.set.as_ref().map(|s| s.item.join(", "));
                write!(f, "{{{}}}", items.unwrap_or_default())
            }
            _ => {
                let value = resource.scalar.as_ref().map_or(0.0, |s| s.value);
                write!(f, "{}", scalar(thousandths(value)))
            }
        }
    }
}

fn range_text(ranges: &[(u64, u64)]) -> String {
    let texts: Vec<String> = ranges.iter().map(|(a, b)| format!("{a}-{b}")).collect();
    format!("[{}]", texts.join(", "))
}

/// What is wrong with a resource (Mesos `src/v1/resources.cpp: Resources::validate`).
pub(crate) fn validate(resource: &Resource) -> Result<(), String> {
    let wrong = |what: &str| {
        // The master looks at the resources before it notes whom they are allocated to.
        let plain = Resource {
            allocation_info: None,
            ..resource.clone()
        };
        Err(format!(
            "Resource '{}' is invalid: {what}",
            ResourceText(&plain)
        ))
    };
    if resource.name.is_empty() {
        return wrong("Empty resource name");
    }
    match value::Type::try_from(resource.r#type) {
        Ok(value::Type::Scalar) => {
            let Some(value) = resource.scalar.as_ref().map(|s| s.value) else {
                return wrong("Invalid scalar resource");
            };
            if resource.ranges.is_some() || resource.set.is_some() {
                return wrong("Invalid scalar resource");
            }
            if value < 0.0 || !value.is_finite() || (value != 0.0 && thousandths(value) == 0) {
                return wrong("Invalid scalar resource: value <= 0");
            }
            if resource.name == "gpus" && thousandths(value) % 1000 != 0 {
                return wrong("The 'gpus' resource must be an unsigned integer");
            }
        }
        Ok(value::Type::Ranges) => {
            let Some(ranges) = &resource.ranges else {
                return wrong("Invalid ranges resource");
            };
            if resource.scalar.is_some() || resource.set.is_some() {
                return wrong("Invalid ranges resource");
            }
            if ranges.range.iter().any(|r| r.begin > r.end) {
                return wrong("Invalid ranges resource: begin > end");
            }
            let mut sorted: Vec<_> = ranges.range.iter().map(|r| (r.begin, r.end)).collect();
            sorted.sort_unstable();
            if sorted.windows(2).any(|pair| pair[1].0 <= pair[0].1) {
                return wrong("Invalid ranges resource: overlapping ranges");
            }
        }
        Ok(value::Type::Set) => {
            let Some(set) = &resource.set else {
                return wrong("Invalid set resource");
            };
            let mut items: Vec<_> = set.item.iter().collect();
            items.sort_unstable();
            if items.windows(2).any(|pair| pair[0] == pair[1]) {
                return wrong("Invalid set resource: duplicated elements");
            }
        }
        _ => return wrong("Unsupported resource type"),
    }
    if resource.disk.is_some() && resource.name != "disk" {
        return wrong(&format!(
            "DiskInfo should not be set for {} resource",
            resource.name
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpus(value: f64) -> Resource {
        let mut resource = Resource {
            name: "cpus".into(),
            ..Resource::default()
        };
        resource.set_type(value::Type::Scalar);
        resource.scalar = Some(value::Scalar { value });
        resource
    }

    fn ports(ranges: &[(u64, u64)]) -> Resource {
        let mut resource = Resource {
            name: "ports".into(),
            ..Resource::default()
        };
        resource.set_type(value::Type::Ranges);
        let range = ranges
            .iter()
            .map(|&(begin, end)| value::Range { begin, end })
            .collect();
        resource.ranges = Some(value::Ranges { range });
        resource
    }

    #[test]
    fn ten_tenths_are_one() {
        let tenths: Vec<_> = (0..10).map(|_| cpus(0.1)).collect();
        let mut bag = Bag::parse(&tenths);
        assert!(bag.contains(&Bag::parse(&[cpus(1.0)])));
        bag.subtract(&Bag::parse(&[cpus(1.0)]));
        assert!(bag.is_empty());
    }

    #[test]
    fn ranges_split_and_coalesce() {
        let mut bag = Bag::parse(&[ports(&[(31000, 31999)])]);
        let taken = Bag::parse(&[ports(&[(31010, 31011)])]);
        bag.subtract(&taken);
        assert_eq!(
            bag.text(Some("web")),
            "ports(allocated: web):[31000-31009, 31012-31999]"
        );
        assert!(!bag.contains(&taken));
        bag.add(&taken);
        assert_eq!(bag.text(None), "ports:[31000-31999]");
    }

    #[test]
    fn reservations_are_kept_apart_in_both_formats() {
        let mut old = cpus(1.0);
        old.role = Some("web".into());
        let bag = Bag::parse(&[old, cpus(2.0)]);
        assert_eq!(
            bag.text(Some("web")),
            "cpus(allocated: web)(reservations: [(STATIC,web)]):1; cpus(allocated: web):2"
        );
        assert!(!bag.contains(&Bag::parse(&[cpus(3.0)])));
        assert_eq!(bag.offerable("ops", true, false).total("cpus"), 2000);
        assert_eq!(bag.offerable("web/a", true, false).total("cpus"), 3000);
    }
}

//! Typed identifiers, and the one place where task ids are made and read.

use std::{fmt, io::Write, sync::Arc};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the text as it is.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

text_id! {
    /// The id that the Mesos master gave this framework.
    FrameworkId
}
text_id! {
    /// The id of a Mesos agent.
    AgentId
}
text_id! {
    /// The id of a Mesos offer. Valid until accepted, declined, rescinded or resubscribed.
    OfferId
}
text_id! {
    /// The id of a Mesos task, `<framework>.<instance>.<uuid>`: unique for ever.
    TaskId
}
text_id! {
    /// The name of a workload as its owner wrote it; see [`WorkloadName::in_task_ids`].
    WorkloadName
}

impl WorkloadName {
    /// The name as it stands in task ids and Mesos task names, where `/` is not allowed.
    pub fn in_task_ids(&self) -> String {
        self.as_str().replace('/', "_")
    }
}

/// A random 128-bit number with the version and variant bits of a version 4 UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(u128);

impl Uuid {
    /// Length of the hyphenated text form.
    pub const TEXT_LENGTH: usize = 36;

    /// From its 128 bits.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// Its 128 bits.
    pub const fn to_bits(self) -> u128 {
        self.0
    }

    /// Reads the hyphenated form (`8-4-4-4-12`, any case). `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != Self::TEXT_LENGTH {
            return None;
        }
        let mut bits = 0u128;
        for (position, &byte) in bytes.iter().enumerate() {
            if matches!(position, 8 | 13 | 18 | 23) {
                if byte != b'-' {
                    return None;
                }
                continue;
            }
            let digit = (byte as char).to_digit(16)?;
            bits = bits << 4 | u128::from(digit);
        }
        Some(Self(bits))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; Self::TEXT_LENGTH];
        let mut shift = 128;
        for (position, slot) in text.iter_mut().enumerate() {
            if !matches!(position, 8 | 13 | 18 | 23) {
                shift -= 4;
                *slot = DIGITS[(self.0 >> shift) as usize & 0xf];
            }
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Uuid {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Uuid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a UUID")))
    }
}

/// Makes the random ids of a run. The seed is handed in, so that a simulated run repeats exactly;
/// a real run seeds it from the operating system.
#[derive(Clone, Debug)]
pub struct IdGenerator {
    // xoshiro256++ (Blackman and Vigna): small, fast, and more than random enough for names.
    state: [u64; 4],
}

impl IdGenerator {
    /// A generator with 256 bits of seed. An all-zero seed is replaced, as the algorithm demands.
    pub fn new(seed: [u64; 4]) -> Self {
        let state = if seed == [0; 4] { [1, 2, 3, 4] } else { seed };
        Self { state }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// The next version 4 UUID.
    pub fn uuid(&mut self) -> Uuid {
        let bits = u128::from(self.next_u64()) << 64 | u128::from(self.next_u64());
        let version_and_variant_cleared = bits & !(0xf << 76) & !(0x3 << 62);
        Uuid(version_and_variant_cleared | 0x4 << 76 | 0x2 << 62)
    }
}

/// The parts of a task id: which instance of which workload, and which run of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskIdParts<'a> {
    /// The workload's name as it stands in task ids ([`WorkloadName::in_task_ids`]).
    pub workload: &'a str,
    /// The instance's number, from 1.
    pub number: u32,
    /// The run.
    pub uuid: Uuid,
}

impl TaskId {
    /// Joins `<framework>.<workload>-<number>.<uuid>`, the form of the boilerplate, so that its
    /// tasks can be taken over. `workload` is the name as it stands in task ids.
    pub fn from_parts(framework: &str, workload: &str, number: u32, uuid: Uuid) -> Self {
        // A million of these are made in a minute: written on the stack, allocated once.
        let mut text = SmallVec::<[u8; 128]>::new();
        let written = write!(text, "{framework}.{workload}-{number}.{uuid}");
        debug_assert!(written.is_ok(), "a growing buffer takes everything");
        Self::new(std::str::from_utf8(&text).unwrap_or_default())
    }

    /// Takes an id of framework `framework` apart; `None` when it was not made by
    /// [`TaskId::from_parts`]: put together again, the parts are the same id.
    pub fn parts(&self, framework: &str) -> Option<TaskIdParts<'_>> {
        split(self.as_str().strip_prefix(framework)?.strip_prefix('.')?)
    }

    /// The framework that an id says it is of, where no name of a workload has a dot; `None` when
    /// [`TaskId::from_parts`] never made it.
    pub(crate) fn framework(&self) -> Option<&str> {
        let before_uuid = self.0.len().checked_sub(Uuid::TEXT_LENGTH + 1)?;
        let (framework, _) = self.0.get(..before_uuid)?.rsplit_once('.')?;
        self.parts(framework).map(|_| framework)
    }
}

/// Takes `<workload>-<number>.<uuid>` apart.
fn split(text: &str) -> Option<TaskIdParts<'_>> {
    let (instance, uuid_text) =
        text.split_at_checked(text.len().checked_sub(Uuid::TEXT_LENGTH)?)?;
    let uuid = Uuid::parse(uuid_text)?;
    let (workload, number_text) = instance.strip_suffix('.')?.rsplit_once('-')?;
    let number = number_text.parse().ok().filter(|number| *number > 0)?;
    // What is read leniently would be written as another id.
    let is_exact = number_text.starts_with(|first| matches!(first, '1'..='9'))
        && !uuid_text.bytes().any(|byte| byte.is_ascii_uppercase());
    is_exact.then_some(TaskIdParts {
        workload,
        number,
        uuid,
    })
}

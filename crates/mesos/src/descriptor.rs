//! Descriptors of all messages in [`crate::v1`], for code that works on any of
//! them.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MessageDescriptor};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    #[expect(
        clippy::expect_used,
        reason = "the bytes are made by our own build script from the same files as the types"
    )]
    DescriptorPool::decode(&include_bytes!(concat!(env!("OUT_DIR"), "/mesos.descriptors"))[..])
        .expect("the embedded descriptors are valid")
});

/// Any message of [`crate::v1`].
///
/// Implemented for every prost message that knows its own name; nothing needs to
/// implement it by hand.
pub trait MesosMessage: prost::Message + prost::Name + Default {}

impl<M: prost::Message + prost::Name + Default> MesosMessage for M {}

/// The descriptors of all Mesos v1 messages this crate knows.
#[must_use]
pub fn pool() -> &'static DescriptorPool {
    &POOL
}

/// The descriptor of `M`; `None` if `M` is not a message of this crate.
#[must_use]
pub fn of<M: MesosMessage>() -> Option<MessageDescriptor> {
    POOL.get_message_by_name(&M::full_name())
}

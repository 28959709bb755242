//! Compiles the `.proto` files to Rust types, and embeds their descriptors for
//! the modules that work on any message (`json`, `required`).

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

const ROOTS: [&str; 4] = [
    "mesos/v1/scheduler/scheduler.proto",
    "mesos/v1/executor/executor.proto",
    "mesos/v1/master/master.proto",
    "mesos/v1/agent/agent.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=build.rs");

    let mut set = protox::compile(ROOTS, ["proto"])?;
    for file in &mut set.file {
        file.source_code_info = None;
    }
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("mesos.descriptors"), set.encode_to_vec())?;

    // The JSON rules need the `deprecated` marks, so the embedded set keeps
    // them. The Rust types do without: a server has to fill deprecated fields
    // for old clients, and should not need an `allow` for each of them.
    for file in &mut set.file {
        for message in &mut file.message_type {
            undeprecate(message);
        }
        for value in file.enum_type.iter_mut().flat_map(|e| &mut e.value) {
            value.options = None;
        }
    }
    prost_build::Config::new()
        .enable_type_names()
        .btree_map(["."])
        .compile_fds(set)?;
    Ok(())
}

fn undeprecate(message: &mut prost_types::DescriptorProto) {
    for field in &mut message.field {
        if let Some(options) = &mut field.options {
            options.deprecated = None;
        }
    }
    for value in message.enum_type.iter_mut().flat_map(|e| &mut e.value) {
        value.options = None;
    }
    for nested in &mut message.nested_type {
        undeprecate(nested);
    }
}

//! Where modules are.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// A module that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name: that of the directory without `-module` or `module-`.
    pub name: String,
    /// Its directory, with an `index.js`.
    pub directory: PathBuf,
}

/// The modules in `modules` (`<name>-module` and `module-<name>`) and those that stand in
/// `beside` (only `<name>-module`, where the original looked), in the order of their names: the
/// order in which they are loaded and asked. A name that is found twice is taken from `modules`.
///
/// A directory that does not exist holds no modules.
///
/// # Errors
/// A directory that exists and cannot be read.
pub fn discover(modules: &Path, beside: Option<&Path>) -> io::Result<Vec<Found>> {
    let mut found = BTreeMap::new();
    if let Some(beside) = beside {
        collect(beside, |entry| entry.strip_suffix("-module"), &mut found)?;
    }
    collect(modules, name_of, &mut found)?;
    Ok(found
        .into_iter()
        .map(|(name, directory)| Found { name, directory })
        .collect())
}

impl Found {
    /// The module in this directory, whatever the directory is called.
    pub fn at(directory: &Path) -> Self {
        let directory = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
        let entry = directory.file_name().unwrap_or_default().to_string_lossy();
        let name = name_of(&entry).unwrap_or(&entry).to_owned();
        Self { name, directory }
    }

    /// Whether the name can stand in URLs and names of variables.
    pub fn is_named_well(&self) -> bool {
        is_name(&self.name)
    }
}

fn name_of(entry: &str) -> Option<&str> {
    entry
        .strip_suffix("-module")
        .or_else(|| entry.strip_prefix("module-"))
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn collect(
    directory: &Path,
    name_of: impl Fn(&str) -> Option<&str>,
    found: &mut BTreeMap<String, PathBuf>,
) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let file_name = entry.file_name();
        let name = file_name.to_str().and_then(&name_of);
        if let Some(name) = name.filter(|name| !name.is_empty())
            && entry.path().join("index.js").is_file()
        {
            found.insert(name.to_owned(), entry.path());
        }
    }
    Ok(())
}

//! Where a module's `import`s come from: its own directory, and nothing else.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rquickjs::{
    Ctx, Error, Module, Result,
    loader::{ImportAttributes, Loader, Resolver},
    module::Declared,
};

use crate::limits::SOURCE_MAX;

/// Name of the host's own script; what it imports is relative to the module's directory.
pub(crate) const PRELUDE: &str = "gantry:prelude";

/// Makes a name relative to the module's directory of what an `import` says.
pub(crate) struct Inside;

impl Resolver for Inside {
    fn resolve<'js>(
        &mut self,
        _: &Ctx<'js>,
        base: &str,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> Result<String> {
        resolve(base, name).map_err(|reason| Error::new_resolving_message(base, name, reason))
    }
}

fn resolve(base: &str, name: &str) -> std::result::Result<String, &'static str> {
    if !name.starts_with("./") && !name.starts_with("../") {
        return Err("only files of the module's own directory can be imported, as `./name.js`");
    }
    let base = if base == PRELUDE { "" } else { base };
    let mut parts: Vec<&str> = match base.rsplit_once('/') {
        Some((directory, _)) => directory.split('/').collect(),
        None => Vec::new(),
    };
    for part in name.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts
                    .pop()
                    .ok_or("it leads out of the module's directory")?;
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// Reads the files of one directory.
pub(crate) struct Files {
    /// Its true path, without symbolic links.
    root: PathBuf,
}

impl Files {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn read(&self, name: &str) -> std::result::Result<Vec<u8>, String> {
        let known = Path::new(name)
            .extension()
            .is_some_and(|e| e == "js" || e == "mjs");
        if !known {
            return Err("only .js and .mjs files can be imported".to_owned());
        }
        let path = fs::canonicalize(self.root.join(name)).map_err(|error| error.to_string())?;
        if !path.starts_with(&self.root) {
            return Err("it is a link that leads out of the module's directory".to_owned());
        }
        let metadata = fs::metadata(&path).map_err(|error| error.to_string())?;
        if !metadata.is_file() || metadata.len() > SOURCE_MAX {
            return Err(format!("it must be a file of at most {SOURCE_MAX} bytes"));
        }
        fs::read(path).map_err(|error| error.to_string())
    }
}

impl Loader for Files {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _: Option<ImportAttributes<'js>>,
    ) -> Result<Module<'js, Declared>> {
        let source = self
            .read(name)
            .map_err(|reason| Error::new_loading_message(name, reason))?;
        Module::declare(ctx.clone(), name, source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_stay_inside() {
        assert_eq!(resolve(PRELUDE, "./index.js"), Ok("index.js".to_owned()));
        assert_eq!(resolve("lib/a.js", "../b.js"), Ok("b.js".to_owned()));
        assert_eq!(resolve("lib/a.js", "./c/d.js"), Ok("lib/c/d.js".to_owned()));
        for outside in [
            "../x.js",
            "./a/../../x.js",
            "/etc/x.js",
            "fs",
            "https://x/y.js",
        ] {
            assert!(resolve("index.js", outside).is_err(), "{outside}");
        }
    }
}

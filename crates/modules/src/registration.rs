//! What a module says it does, when it is loaded.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::limits::{NAME_MAX, REGISTRATIONS_MAX};

/// What a module says it does. Fixed once it is loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Registration {
    /// Its API routes; the first that fits is taken.
    pub routes: Vec<Route>,
    /// Entries of the dashboard's menu.
    pub menus: Vec<Menu>,
    /// Its pages: name, and file in its directory.
    pub pages: BTreeMap<String, String>,
    /// Scripts for the dashboard, files in its directory.
    pub scripts: Vec<String>,
    /// Style sheets for the dashboard, files in its directory.
    pub styles: Vec<String>,
    /// Columns of the task list.
    pub columns: Vec<Column>,
    /// What it wants to be asked and told.
    pub hooks: BTreeSet<Hook>,
}

/// A route of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    /// `GET`, `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// Begins with `/`; a segment `:name` takes any text.
    pub path: String,
}

/// An entry of the dashboard's menu.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Menu {
    /// Its text.
    pub title: String,
    /// The page it opens.
    pub page: String,
}

/// A column of the task list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its key in JSON.
    pub key: String,
    /// Its head.
    pub title: String,
}

/// What a module can be asked or told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Hook {
    /// May an instance be launched, and with which environment besides its own?
    BeforeLaunch,
    /// A task's state changed.
    OnStatus,
    /// May a task be restarted?
    BeforeRestart,
    /// May a rolling restart begin?
    BeforeRollingRestart,
    /// May tasks be killed?
    BeforeKill,
    /// Is a new task ready?
    RestartCheck,
    /// Is a task healthy?
    Healthy,
    /// Does a task lead?
    Leader,
}

impl Hook {
    /// Every hook.
    pub const ALL: [Self; 8] = [
        Self::BeforeLaunch,
        Self::OnStatus,
        Self::BeforeRestart,
        Self::BeforeRollingRestart,
        Self::BeforeKill,
        Self::RestartCheck,
        Self::Healthy,
        Self::Leader,
    ];

    /// Its name in JavaScript.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BeforeLaunch => "beforeLaunch",
            Self::OnStatus => "onStatus",
            Self::BeforeRestart => "beforeRestart",
            Self::BeforeRollingRestart => "beforeRollingRestart",
            Self::BeforeKill => "beforeKill",
            Self::RestartCheck => "restartCheck",
            Self::Healthy => "healthy",
            Self::Leader => "leader",
        }
    }
}

impl Route {
    /// The texts that the path's `:name` segments take from this path; `None` when it does not fit.
    pub fn matches(&self, method: &str, path: &str) -> Option<BTreeMap<String, String>> {
        let same_method = self.method == method || (self.method == "GET" && method == "HEAD");
        let mut wanted = self.path.split('/');
        let mut given = path.split('/');
        let mut params = BTreeMap::new();
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return same_method.then_some(params),
                (Some(segment), Some(text)) => match segment.strip_prefix(':') {
                    Some(name) if !text.is_empty() => {
                        params.insert(name.to_owned(), text.to_owned());
                    }
                    None if segment == text => {}
                    _ => return None,
                },
                _ => return None,
            }
        }
    }
}

// === registering ===

/// Why something cannot be registered: the message of a `TypeError`.
pub(crate) type Wrong = String;

impl Registration {
    pub(crate) fn add_route(&mut self, method: &str, path: &str) -> Result<(), Wrong> {
        let method = method.to_ascii_uppercase();
        if !matches!(&*method, "GET" | "POST" | "PUT" | "PATCH" | "DELETE") {
            return Err(format!(
                "gantry.route: `{method}` is not one of GET, POST, PUT, PATCH, DELETE"
            ));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || "/-_.:~".contains(c);
        if !path.starts_with('/') || path.len() > NAME_MAX || !path.chars().all(fits) {
            return Err(format!(
                "gantry.route: path `{path}` must begin with `/` and hold letters, digits, `-_.~` \
                 and `:name` segments"
            ));
        }
        let path = path.to_owned();
        push("route", &mut self.routes, Route { method, path })
    }

    pub(crate) fn add_menu(&mut self, title: &str, page: &str) -> Result<(), Wrong> {
        text("gantry.menu: title", title)?;
        name("gantry.menu: page", page)?;
        let (title, page) = (title.to_owned(), page.to_owned());
        push("menu", &mut self.menus, Menu { title, page })
    }

    pub(crate) fn add_page(&mut self, page: &str, path: &str) -> Result<(), Wrong> {
        name("gantry.page: name", page)?;
        file("gantry.page", path, &[".html"])?;
        if self.pages.len() == REGISTRATIONS_MAX {
            return Err(format!("gantry.page: at most {REGISTRATIONS_MAX}"));
        }
        self.pages.insert(page.to_owned(), path.to_owned());
        Ok(())
    }

    pub(crate) fn add_script(&mut self, path: &str) -> Result<(), Wrong> {
        file("gantry.script", path, &[".js", ".mjs"])?;
        push("script", &mut self.scripts, path.to_owned())
    }

    pub(crate) fn add_style(&mut self, path: &str) -> Result<(), Wrong> {
        file("gantry.style", path, &[".css"])?;
        push("style", &mut self.styles, path.to_owned())
    }

    pub(crate) fn add_column(&mut self, key: &str, title: &str) -> Result<(), Wrong> {
        name("gantry.column: key", key)?;
        text("gantry.column: title", title)?;
        if self.columns.iter().any(|column| column.key == key) {
            return Err(format!("gantry.column: there are two with the key `{key}`"));
        }
        let (key, title) = (key.to_owned(), title.to_owned());
        push("column", &mut self.columns, Column { key, title })
    }

    pub(crate) fn add_hook(&mut self, hook: Hook) -> Result<(), Wrong> {
        if !self.hooks.insert(hook) {
            return Err(format!("gantry.{}: it is there already", hook.name()));
        }
        Ok(())
    }

    /// What can only be seen when all is there: a menu without its page.
    pub(crate) fn check(&self) -> Result<(), Wrong> {
        match self
            .menus
            .iter()
            .find(|menu| !self.pages.contains_key(&menu.page))
        {
            Some(menu) => Err(format!(
                "gantry.menu: `{}` opens the page `{}`, which no gantry.page names",
                menu.title, menu.page
            )),
            None => Ok(()),
        }
    }
}

fn push<T: PartialEq>(what: &str, list: &mut Vec<T>, item: T) -> Result<(), Wrong> {
    if list.contains(&item) {
        return Err(format!("gantry.{what}: it is there already"));
    }
    if list.len() == REGISTRATIONS_MAX {
        return Err(format!("gantry.{what}: at most {REGISTRATIONS_MAX}"));
    }
    list.push(item);
    Ok(())
}

/// A word that can stand in a URL as it is.
pub(crate) fn name(what: &str, text: &str) -> Result<(), Wrong> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if text.is_empty() || text.len() > NAME_MAX || !text.chars().all(fits) {
        return Err(format!(
            "{what}: `{text}` must be 1 to {NAME_MAX} letters, digits, `-` and `_`"
        ));
    }
    Ok(())
}

fn text(what: &str, text: &str) -> Result<(), Wrong> {
    if text.is_empty() || text.len() > NAME_MAX || text.chars().any(char::is_control) {
        return Err(format!("{what}: must be 1 to {NAME_MAX} bytes of text"));
    }
    Ok(())
}

/// A file in the module's directory: whether it exists is looked up when it is asked for.
fn file(what: &str, path: &str, endings: &[&str]) -> Result<(), Wrong> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let inside = path
        .split('/')
        .all(|part| !part.is_empty() && !part.starts_with('.'));
    let known = endings.iter().any(|ending| path.ends_with(ending));
    if !inside || !known || path.len() > NAME_MAX || !path.chars().all(fits) {
        return Err(format!(
            "{what}: `{path}` must be a file in the module's directory that ends in {}",
            endings.join(" or ")
        ));
    }
    Ok(())
}

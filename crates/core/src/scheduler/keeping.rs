//! What is kept for modules and for who logs in: the scheduler decides nothing by it.

use std::sync::Arc;

use super::Scheduler;
use crate::{
    AccessRecord, Actor, Answer, Key, MODULE_KEY_BYTES_MAX, MODULE_NAME_BYTES_MAX,
    MODULE_VALUE_BYTES_MAX, MODULE_VALUES_MAX, MODULES_MAX, ModuleValue, Record, Refusal, Write,
};

impl Scheduler {
    /// Takes a value in, whatever the limits: one that is stored is not thrown away.
    pub(super) fn keep(&mut self, record: ModuleValue) {
        let values = Arc::make_mut(&mut self.module_values);
        let of_module = values.entry(record.module).or_default();
        Arc::make_mut(of_module).insert(record.key, record.value);
    }

    pub(super) fn put_module_value(
        &mut self,
        module: Arc<str>,
        key: Arc<str>,
        value: Option<Arc<str>>,
    ) -> Result<Answer, Refusal> {
        let kept = self
            .module_values
            .get(&module)
            .and_then(|values| values.get(&key));
        if kept == value.as_ref() {
            return Ok(Answer::Stored);
        }
        match value {
            Some(value) => {
                if let Some(reason) = self.too_much(&module, &key, &value) {
                    return Err(Refusal::NotStored { module, reason });
                }
                let record = ModuleValue { module, key, value };
                self.out
                    .writes
                    .push(Write::Put(Record::ModuleValue(record.clone())));
                self.keep(record);
            }
            None => {
                let values = Arc::make_mut(&mut self.module_values);
                if let Some(of_module) = values.get_mut(&module) {
                    Arc::make_mut(of_module).remove(&key);
                    if of_module.is_empty() {
                        values.remove(&module);
                    }
                }
                let key = Key::ModuleValue(module, key);
                self.out.writes.push(Write::Delete(key));
            }
        }
        Ok(Answer::Stored)
    }

    /// Why a value is not taken, as a clause.
    fn too_much(&self, module: &str, key: &str, value: &str) -> Option<String> {
        let sizes = [
            ("the module's name", module, 1, MODULE_NAME_BYTES_MAX),
            ("the key", key, 1, MODULE_KEY_BYTES_MAX),
            ("the value", value, 0, MODULE_VALUE_BYTES_MAX),
        ];
        for (what, text, least, most) in sizes {
            if !(least..=most).contains(&text.len()) {
                let bytes = text.len();
                return Some(format!("{what} has {bytes} bytes, not {least} to {most}"));
            }
        }
        match self.module_values.get(module) {
            None => (self.module_values.len() >= MODULES_MAX)
                .then(|| format!("{MODULES_MAX} modules keep values already")),
            Some(values) => (!values.contains_key(key) && values.len() >= MODULE_VALUES_MAX)
                .then(|| format!("it keeps {MODULE_VALUES_MAX} values already: forget some")),
        }
    }

    pub(super) fn end_sessions(
        &mut self,
        actor: Actor,
        user: Option<String>,
    ) -> Result<Answer, Refusal> {
        if user
            .as_ref()
            .is_some_and(|user| !AccessRecord::is_user(user))
        {
            return Err(Refusal::NoUser);
        }
        let action = user.as_ref().map_or_else(
            || "end all sessions".to_owned(),
            |user| format!("end the sessions of {user}"),
        );
        Arc::make_mut(&mut self.access).end(user, self.now);
        let record = Record::Access(AccessRecord::clone(&self.access));
        self.out.writes.push(Write::Put(record));
        self.audit(actor, action, None, None);
        Ok(Answer::SessionsEnded)
    }
}

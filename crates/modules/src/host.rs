//! All modules together: one answer out of many, always in the order of their names.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::{
    Level, World,
    answer::{Annotation, Answer, Launch, Response},
    module::{Module, NoAnswer, Question, Status},
    registration::Hook,
};

/// The modules of a service. Dropping it ends them all.
pub struct Host {
    modules: Vec<Module>,
    world: Arc<dyn World>,
}

/// What all modules together say of a launch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Nobody objects; these variables are added.
    Admitted {
        /// Name and value, by name.
        environment: BTreeMap<String, String>,
    },
    /// The first that objects.
    Vetoed {
        /// Which module.
        module: String,
        /// Why.
        reason: String,
        /// When to ask again.
        retry_after: Duration,
    },
}

/// A module refuses what was about to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which module.
    pub module: String,
    /// Why.
    pub reason: String,
}

impl Host {
    /// Of these modules; they are asked in the order of their names.
    pub fn new(mut modules: Vec<Module>, world: Arc<dyn World>) -> Self {
        modules.sort_by(|a, b| a.name().cmp(b.name()));
        Self { modules, world }
    }

    /// Waits until each is loaded, or stopped.
    pub async fn loaded(&self) {
        for module in &self.modules {
            module.loaded().await;
        }
    }

    /// How they are.
    pub fn statuses(&self) -> Vec<Status> {
        self.modules.iter().map(Module::status).collect()
    }

    /// The modules, in the order of their names.
    pub fn modules(&self) -> &[Module] {
        &self.modules
    }

    /// Whether any running module wants to be asked or told this.
    pub fn has(&self, hook: Hook) -> bool {
        self.modules.iter().any(|module| module.has(hook))
    }

    /// Tells all of them an event: the JSON of one. Never waits.
    pub fn tell(&self, event: &Arc<str>) {
        for module in &self.modules {
            module.tell(Arc::clone(event));
        }
    }

    /// Asks whether an instance may be launched. The first veto counts; of two modules that set
    /// one variable, the later one does.
    pub async fn before_launch(&self, launch: &Value) -> Admission {
        let mut environment: BTreeMap<String, String> = BTreeMap::new();
        for module in self.asked(Hook::BeforeLaunch) {
            match ask(module, Hook::BeforeLaunch, launch).await {
                Ok(Answer::Launch(Launch::Vetoed {
                    reason,
                    retry_after,
                })) => {
                    return Admission::Vetoed {
                        module: module.name().to_owned(),
                        reason,
                        retry_after,
                    };
                }
                Ok(Answer::Launch(Launch::Admitted { environment: added })) => {
                    for (name, value) in added {
                        if environment
                            .get(&name)
                            .is_some_and(|before| *before != value)
                        {
                            let line = format!("sets {name}, which a module before it also sets");
                            self.world.log(module.name(), Level::Warn, &line);
                        }
                        environment.insert(name, value);
                    }
                }
                _ => {}
            }
        }
        Admission::Admitted { environment }
    }

    /// Asks whether a change may be made: `hook` is one of the `before…` that can refuse. The first
    /// refusal counts.
    pub async fn refusal(&self, hook: Hook, change: &Value) -> Option<Refusal> {
        for module in self.asked(hook) {
            if let Ok(Answer::Refused(reason)) = ask(module, hook, change).await {
                return Some(Refusal {
                    module: module.name().to_owned(),
                    reason,
                });
            }
        }
        None
    }

    /// Whether a new task is ready: nobody who checks restarts says that it is not. A module that
    /// runs but does not answer is no reason to go on without it: it has to be asked again, until it
    /// answers or is stopped.
    pub async fn restart_check(&self, task: &Value) -> bool {
        for module in self.asked(Hook::RestartCheck) {
            let ready = match ask(module, Hook::RestartCheck, task).await {
                Ok(Answer::Ready(says)) => says,
                Ok(_) | Err(NoAnswer::Stopped) => true,
                Err(_) => false,
            };
            if !ready {
                return false;
            }
        }
        true
    }

    /// Whether any module has something to say of tasks in lists.
    pub fn annotates(&self) -> bool {
        self.modules.iter().any(annotates)
    }

    /// What each module has to say of these tasks in lists, by its name.
    pub async fn annotate(&self, tasks: &[Value]) -> Vec<(String, Vec<Annotation>)> {
        let mut said = Vec::new();
        for module in &self.modules {
            if !annotates(module) {
                continue;
            }
            let tasks = tasks.to_vec();
            if let Ok(Answer::Annotations(all)) = module.ask(Question::Annotate { tasks }).await {
                said.push((module.name().to_owned(), all));
            }
        }
        said
    }

    /// Has a module's route answer. `None` when no module has one that fits; with a `module`, only
    /// that one is looked at. The parameters of the path are put into the request.
    pub async fn route(
        &self,
        module: Option<&str>,
        method: &str,
        path: &str,
        request: Value,
    ) -> Option<(String, Result<Response, NoAnswer>)> {
        let candidates = self
            .modules
            .iter()
            .filter(|candidate| module.is_none_or(|name| name == candidate.name()));
        for candidate in candidates {
            let Some(registration) = candidate.registration() else {
                continue;
            };
            let fits = registration
                .routes
                .iter()
                .enumerate()
                .find_map(|(index, route)| Some((index, route.matches(method, path)?)));
            if let Some((index, params)) = fits {
                let mut request = request;
                request["method"] = json!(method);
                request["path"] = json!(path);
                request["params"] = json!(params);
                let answer = candidate.ask(Question::Route { index, request }).await;
                let answer = answer.map(|answer| match answer {
                    Answer::Response(response) => response,
                    _ => Response {
                        status: 204,
                        content_type: "text/plain; charset=utf-8".to_owned(),
                        body: String::new(),
                    },
                });
                return Some((candidate.name().to_owned(), answer));
            }
        }
        None
    }

    fn asked(&self, hook: Hook) -> impl Iterator<Item = &Module> {
        self.modules.iter().filter(move |module| module.has(hook))
    }
}

fn annotates(module: &Module) -> bool {
    module.registration().is_some_and(|registration| {
        let indicates = [Hook::Healthy, Hook::Leader]
            .iter()
            .any(|hook| registration.hooks.contains(hook));
        indicates || !registration.columns.is_empty()
    })
}

async fn ask(module: &Module, hook: Hook, argument: &Value) -> Result<Answer, NoAnswer> {
    let argument = argument.clone();
    module.ask(Question::Hook { hook, argument }).await
}

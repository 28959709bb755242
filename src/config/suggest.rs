//! Names that look like ours and are not: misspelt ones, and those of task types beyond the count.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Variables,
    report::{Problem, Report},
    table::{self, Scope, Variable},
};

/// Most unknown names that are reported.
const REPORTED_MAX: usize = 100;

/// Warns about every name that looks like one of ours but is not, and tells a missing variable
/// which misspelt one it may be.
pub(super) fn names(variables: &dyn Variables, definitions: Option<u32>, report: &mut Report) {
    let mut beyond: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    let mut found = 0usize;
    for name in variables.names() {
        let judged = match task_name(name) {
            Some((index, rest)) => {
                if known(Scope::TaskType, rest) && !leading_zero(name) {
                    if definitions.is_some_and(|count| index >= u64::from(count)) {
                        beyond.entry(index).or_default().insert(name);
                    }
                    continue;
                }
                Some(nearest_of_task(index, rest))
            }
            None => looks_like_task(name).or_else(|| nearest_of_framework(name).map(Some)),
        };
        let Some(likely) = judged else { continue };
        found += 1;
        if found > REPORTED_MAX {
            continue;
        }
        let remedy = match &likely {
            Some(likely) => format!("it is ignored; is {likely} meant?"),
            None => "it is ignored; `gantry env` lists the known ones".to_owned(),
        };
        if let Some(likely) = &likely {
            let missing = report.errors.iter_mut().find(|problem| {
                problem.variable == *likely && report.missing.contains(&problem.variable)
            });
            if let Some(missing) = missing {
                missing.remedy = format!("rename {name}, if that is it; else {}", missing.remedy);
            }
        }
        report.warnings.push(Problem {
            variable: name.to_owned(),
            value: None,
            reason: "is not known".to_owned(),
            remedy,
        });
    }
    for (index, names) in beyond.into_iter().take(REPORTED_MAX) {
        let count = definitions.unwrap_or_default();
        let Some(first) = names.first() else { continue };
        report.warnings.push(Problem {
            variable: (*first).to_owned(),
            value: None,
            reason: match names.len() - 1 {
                0 => "is ignored".to_owned(),
                others => format!("and {others} more of TASK{index}_ are ignored"),
            },
            remedy: match count {
                0 => "TASK_DEF_NUM=0 declares no type; raise it, or remove them".to_owned(),
                _ => format!(
                    "TASK_DEF_NUM={count} counts the types from 0 to {}; raise it, or remove them",
                    count - 1
                ),
            },
        });
    }
}

/// The indices of the task types that at least one known variable is set for, ascending.
pub(super) fn task_indices(variables: &dyn Variables) -> Vec<u32> {
    let indices: BTreeSet<u32> = variables
        .names()
        .into_iter()
        .filter_map(task_name)
        .filter(|(_, rest)| known(Scope::TaskType, rest))
        .filter_map(|(index, _)| u32::try_from(index).ok())
        .collect();
    indices.into_iter().take(REPORTED_MAX).collect()
}

/// `TASK<digits>_<rest>` taken apart.
fn task_name(name: &str) -> Option<(u64, &str)> {
    let rest = name.strip_prefix("TASK")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let index = rest[..digits].parse().ok()?;
    Some((index, rest[digits..].strip_prefix('_')?))
}

fn leading_zero(name: &str) -> bool {
    let mut digits = name.bytes().skip("TASK".len());
    digits.next() == Some(b'0') && digits.next().is_some_and(|b| b.is_ascii_digit())
}

fn spellings(variable: &'static Variable) -> impl Iterator<Item = String> {
    let file = variable.secret.then(|| format!("{}_FILE", variable.name));
    [variable.name]
        .into_iter()
        .chain(variable.aliases.iter().copied())
        .map(str::to_owned)
        .chain(file)
}

fn known_names(scope: Scope) -> impl Iterator<Item = String> {
    table::all()
        .filter(move |variable| variable.scope == scope)
        .flat_map(spellings)
}

fn known(scope: Scope, name: &str) -> bool {
    known_names(scope).any(|known| known == name)
}

/// The nearest known variable of a task type, if any is near.
fn nearest_of_task(index: u64, rest: &str) -> Option<String> {
    let upper = rest.to_uppercase();
    known_names(Scope::TaskType)
        .map(|known| (distance(&upper, &known), known))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 5)
        .min()
        .map(|(_, known)| format!("TASK{index}_{known}"))
}

/// `task0_image`, `TASK_0_IMAGE`, `TASK0IMAGE`: a task's variable but for case and underscores.
fn looks_like_task(name: &str) -> Option<Option<String>> {
    let bare = |name: &str| name.replace('_', "").to_uppercase();
    let all = bare(name);
    let rest = all.strip_prefix("TASK")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let index: u64 = rest[..digits].parse().ok()?;
    let known = known_names(Scope::TaskType).find(|known| bare(known) == rest[digits..])?;
    Some(Some(format!("TASK{index}_{known}")))
}

/// The known framework-level variable that differs in one letter, or two of a long one. Names that
/// others set (`PORT`, `PORT1`, `HOME`, …) are no misspellings.
fn nearest_of_framework(name: &str) -> Option<String> {
    const OTHERS: [&str; 4] = ["PORT", "PORTS", "HOME", "HOSTS"];
    let of_marathon = name
        .strip_prefix("PORT")
        .is_some_and(|rest| rest.starts_with('_') || rest.bytes().all(|b| b.is_ascii_digit()));
    // Each module has its own.
    let of_module = name.starts_with("MODULE_");
    if of_marathon || of_module || OTHERS.contains(&name) || known(Scope::Framework, name) {
        return None;
    }
    let upper = name.to_uppercase();
    known_names(Scope::Framework)
        .map(|known| (distance(&upper, &known), known))
        .filter(|(distance, known)| *distance <= if known.len() < 8 { 1 } else { 2 })
        .min()
        .map(|(_, known)| known)
}

/// Edits that lead from one text to the other: a letter more, less, other, or two exchanged.
fn distance(a: &str, b: &str) -> usize {
    /// Longer names are none of ours.
    const LONGEST: usize = 64;
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().max(b.len()) > LONGEST {
        return LONGEST;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let other = usize::from(a[i - 1] != b[j - 1]);
            let mut least = (above[j] + 1).min(row[j - 1] + 1).min(above[j - 1] + other);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(names: &[&str], definitions: u32) -> Vec<String> {
        let variables: BTreeMap<String, String> = names
            .iter()
            .map(|name| ((*name).to_owned(), "x".to_owned()))
            .collect();
        let mut report = Report::default();
        super::names(&variables, Some(definitions), &mut report);
        report
            .warnings
            .into_iter()
            .map(|warning| {
                format!(
                    "{}: {}; {}",
                    warning.variable, warning.reason, warning.remedy
                )
            })
            .collect()
    }

    #[test]
    fn misspelt_names_are_told_their_likely_ones() {
        for (misspelt, likely) in [
            ("TASK0_IMGE", "TASK0_IMAGE"),
            ("TASK0_HEALTCHECK_PORT", "TASK0_HEALTHCHECK_PORT"),
            ("TASK0_CPU", "TASK0_CPUS"),
            ("TASK0_image", "TASK0_IMAGE"),
            ("task0_image", "TASK0_IMAGE"),
            ("TASK_0_IMAGE", "TASK0_IMAGE"),
            ("TASK00_NAME", "TASK0_NAME"),
            ("TASK0_SECRET_ENVFILE", "TASK0_SECRET_ENV_FILE"),
            ("FRAMWORK_NAME", "FRAMEWORK_NAME"),
            ("FRAMEWROK_NAME", "FRAMEWORK_NAME"),
            ("LOGLEVEL", "LOG_LEVEL"),
            ("MESOS_SECRETS", "MESOS_SECRET"),
            ("TASK_DEF_NUMBER", ""),
        ] {
            let found = judged(&[misspelt], 1);
            let expected = format!("is {likely} meant?");
            match likely {
                "" => assert_eq!(found, [""; 0], "three letters away, so not ours to judge"),
                _ => assert!(
                    found.len() == 1 && found[0].ends_with(&expected),
                    "{found:?}"
                ),
            }
        }
        assert!(judged(&["TASK0_COLOUR_OF_THE_SKY"], 1)[0].contains("is not known"));
    }

    #[test]
    fn what_others_set_is_none_of_our_business() {
        let others = [
            "PATH",
            "HOME",
            "HOSTNAME",
            "PORT",
            "PORT1",
            "PORT_8080",
            "PORTS",
            "PWD",
            "LANG",
            "SHELL",
            "MESOS_TASK_ID",
            "MESOS_CONTAINER_NAME",
            "MESOS_SLAVE_ID",
            "MESOS_AGENT_ENDPOINT",
            "MESOS_DIRECTORY",
            "MARATHON_APP_ID",
            "MARATHON_APP_LABELS",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GITLAB_TOKEN",
            "TASKS",
            "TASK_NAME",
            "LIBPROCESS_IP",
            "TERM",
            "USER",
            "LOGNAME",
            "SHLVL",
        ];
        assert_eq!(judged(&others, 1), [""; 0]);
        let ours: Vec<String> = table::all()
            .filter(|v| v.scope == Scope::Framework)
            .flat_map(spellings)
            .collect();
        let ours: Vec<&str> = ours.iter().map(String::as_str).collect();
        assert_eq!(judged(&ours, 1), [""; 0]);
    }

    #[test]
    fn types_beyond_the_count_are_reported_once_each() {
        let found = judged(
            &["TASK0_NAME", "TASK1_NAME", "TASK1_IMAGE", "TASK12_NAME"],
            1,
        );
        assert_eq!(found.len(), 2);
        assert!(
            found[0].starts_with("TASK1_IMAGE: and 1 more of TASK1_ are ignored"),
            "{found:?}"
        );
        assert!(found[1].starts_with("TASK12_NAME: is ignored"), "{found:?}");
    }
}

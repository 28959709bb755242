//! The environment of a task: three sources, and which values are secret.

use gantry_core::{EnvironmentValue, EnvironmentVariable, Secret};
use sha2::{Digest, Sha256};

use crate::config::{reader::Reader, table::task::*};

/// Whose environment it is; goes into the fingerprints of its secrets.
pub(super) struct Identity<'a> {
    pub(super) framework: &'a str,
    pub(super) task_type: &'a str,
}

/// `GLOBAL_ENV`, then `TASK#_ENV`, then `TASK#_SECRET_ENV`; of a name that occurs twice the last.
pub(super) fn read(
    reader: &mut Reader<'_>,
    index: u32,
    global: &[(String, String)],
    identity: &Identity<'_>,
) -> Vec<EnvironmentVariable> {
    let own = reader.task(index, &ENV).unwrap_or_default();
    let secret = reader.task(index, &SECRET_ENV).unwrap_or_default();
    for (about, pairs) in [(&ENV.about, &own), (&SECRET_ENV.about, &secret)] {
        if let Some((name, _)) = pairs.iter().find(|(name, _)| added_at_launch(name)) {
            let reason = format!("sets {name}, which every task is given by Gantry");
            reader.warning(about, index, reason, "choose another name");
        }
    }
    let has = |pairs: &[(String, String)], name: &str| pairs.iter().any(|(own, _)| own == name);
    let mut environment = Vec::new();
    for (name, value) in global {
        if !has(&own, name) && !has(&secret, name) {
            environment.push(variable(name, value, sounds_secret(name), identity));
        }
    }
    for (name, value) in &own {
        if !has(&secret, name) {
            environment.push(variable(name, value, sounds_secret(name), identity));
        }
    }
    for (name, value) in &secret {
        environment.push(variable(name, value, true, identity));
    }
    environment
}

fn variable(name: &str, value: &str, secret: bool, identity: &Identity<'_>) -> EnvironmentVariable {
    EnvironmentVariable {
        name: name.to_owned(),
        value: if secret {
            EnvironmentValue::Secret(Secret::new(value, fingerprint(identity, name, value)))
        } else {
            EnvironmentValue::Plain(value.to_owned())
        },
    }
}

/// `HOST`, `PORT0`, ….
fn added_at_launch(name: &str) -> bool {
    name == "HOST"
        || name
            .strip_prefix("PORT")
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether the name of a variable says that its value is secret. Hiding one too many costs a look
/// into the declaration; showing one too many costs the secret.
fn sounds_secret(name: &str) -> bool {
    const ANYWHERE: [&str; 8] = [
        "PASSWORD",
        "PASSWD",
        "PASSPHRASE",
        "SECRET",
        "TOKEN",
        "CREDENTIAL",
        "APIKEY",
        "PRIVATE",
    ];
    const WORDS: [&str; 6] = ["KEY", "KEYS", "PASS", "PWD", "PW", "AUTH"];
    let upper = name.to_uppercase();
    // The shell's own variable for the directory.
    if upper == "PWD" || upper == "OLDPWD" {
        return false;
    }
    ANYWHERE.iter().any(|word| upper.contains(word))
        || upper
            .split(|c: char| !c.is_alphanumeric())
            .any(|word| WORDS.contains(&word) || word.ends_with("KEY"))
}

/// The first 32 bits of a hash over framework, type, name and value: enough to notice a change,
/// too little to confirm a guess.
fn fingerprint(identity: &Identity<'_>, name: &str, value: &str) -> u32 {
    let mut hash = Sha256::new();
    for part in [identity.framework, identity.task_type, name, value] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_sound_secret() {
        for name in [
            "DB_PASSWORD",
            "dbPassword",
            "GITHUB_TOKEN",
            "AWS_SECRET_ACCESS_KEY",
            "API_KEY",
            "apikey",
            "ENCRYPTION_KEYS",
            "SSH_PRIVATE",
            "MYSQL_PWD",
            "REDIS_PASS",
            "BASIC_AUTH",
            "credentials",
        ] {
            assert!(sounds_secret(name), "{name}");
        }
        for name in [
            "COLOUR", "PWD", "PORT", "COMPASS", "KEYBOARD", "AUTHOR", "PATH",
        ] {
            assert!(!sounds_secret(name), "{name}");
        }
        assert!(added_at_launch("PORT12") && !added_at_launch("PORT") && !added_at_launch("PORTS"));
    }

    #[test]
    fn fingerprints_tell_every_part_apart() {
        let of = |framework, task_type, name, value| {
            let identity = Identity {
                framework,
                task_type,
            };
            fingerprint(&identity, name, value)
        };
        let base = of("f", "t", "n", "v");
        assert_eq!(base, of("f", "t", "n", "v"));
        for other in [
            of("g", "t", "n", "v"),
            of("f", "u", "n", "v"),
            of("f", "t", "nv", ""),
            of("f", "t", "n", "w"),
        ] {
            assert_ne!(base, other);
        }
    }
}

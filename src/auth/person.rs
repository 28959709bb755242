//! Who a provider says somebody is, and what the rules make of it.

use std::fmt;

use gantry_core::AccessRecord;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::Access;
use crate::config::{Auth, Gitlab, Google, Rule, is_mail};

/// Longest text that is kept of what a provider says, in characters.
const TEXT_MAX: usize = 128;

/// Who spoke for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Provider)]
pub(crate) enum Via {
    /// GitLab.
    Gitlab,
    /// Google.
    Google,
}

impl Via {
    /// As it stands in paths and in the log.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gitlab => "gitlab",
            Self::Google => "google",
        }
    }
}

/// What a provider says of somebody who has logged in there, verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Claims {
    /// Who speaks, exactly.
    pub(super) issuer: String,
    /// Who it is, for ever; only the provider knows what it means.
    pub(super) subject: String,
    /// The name of the user, where users have one; may change.
    pub(super) user_name: Option<String>,
    /// The full name.
    pub(super) name: Option<String>,
    /// The address.
    pub(super) mail: Option<String>,
    /// Whether the address is known to be theirs.
    pub(super) mail_verified: Option<bool>,
    /// The domain that manages the account.
    pub(super) hosted_domain: Option<String>,
    /// Full paths of groups.
    pub(super) groups: Vec<String>,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotAllowed {
    /// The provider does not vouch for the address.
    UnverifiedMail,
    /// The address is not one address.
    OddMail,
    /// None of the groups or names that may enter.
    NotListed,
    /// Not of a domain that may enter.
    OtherDomain,
    /// The filter does not match.
    Filtered,
    /// Not who, but what: nothing says who this is.
    NoSubject,
}

impl NotAllowed {
    /// For the log.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::UnverifiedMail => "the e-mail address is not verified",
            Self::OddMail => "the e-mail address is malformed",
            Self::NotListed => "neither the user nor a group of the user is listed",
            Self::OtherDomain => "the account is not managed by a listed domain",
            Self::Filtered => "GOOGLE_FILTER does not match the verified e-mail address",
            Self::NoSubject => "the provider does not say who it is",
        }
    }
}

/// A person who was let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Person {
    /// Who spoke for them.
    pub(crate) via: Via,
    /// Exactly who spoke.
    pub(crate) issuer: String,
    /// Who they are there.
    pub(crate) subject: String,
    /// What people call them.
    pub(crate) name: String,
    /// Their verified address.
    pub(crate) mail: Option<String>,
    /// Their name as a user, where users have one.
    pub(crate) user_name: Option<String>,
}

impl Person {
    /// By which they are known for ever, whatever they are called: issuer and subject.
    pub(crate) fn key(&self) -> String {
        let key = format!("{} {}", self.issuer, self.subject);
        if AccessRecord::is_user(&key) {
            return key;
        }
        let hash = Sha256::digest(key.as_bytes());
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// As it stands in the audit log: a name that the provider keeps unique, and who spoke.
impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unique = match self.via {
            Via::Gitlab => self.user_name.as_ref(),
            Via::Google => self.mail.as_ref(),
        };
        let unique = unique.unwrap_or(&self.subject);
        write!(f, "{}:{unique}", self.via.name())
    }
}

impl Claims {
    /// The verified address, in lower case.
    fn verified_mail(&self) -> Result<Option<String>, NotAllowed> {
        match (&self.mail, self.mail_verified) {
            (Some(mail), _) if !is_mail(mail) => Err(NotAllowed::OddMail),
            (Some(_), Some(false)) => Err(NotAllowed::UnverifiedMail),
            (Some(mail), Some(true)) => Ok(Some(mail.to_lowercase())),
            (_, None) | (None, _) => Ok(None),
        }
    }

    fn in_group(&self, allowed: &str) -> bool {
        self.groups.iter().any(|group| {
            let group = group.to_lowercase();
            // A group and all below it.
            group
                .strip_prefix(allowed)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    fn has_user_name(&self, name: &str) -> bool {
        let own = self.user_name.as_ref();
        own.is_some_and(|own| own.to_lowercase() == name)
    }

    fn in_domain(&self, domain: &str) -> bool {
        let own = self.hosted_domain.as_ref();
        own.is_some_and(|own| own.to_lowercase() == domain)
    }

    /// Whether GitLab's user may enter.
    pub(super) fn allowed_by_gitlab(&self, rules: &Gitlab) -> Result<(), NotAllowed> {
        self.verified_mail()?;
        let all = rules.users.is_empty() && rules.groups.is_empty();
        let listed = rules.users.iter().any(|name| self.has_user_name(name))
            || rules.groups.iter().any(|group| self.in_group(group));
        if all || listed {
            Ok(())
        } else {
            Err(NotAllowed::NotListed)
        }
    }

    /// Whether Google's user may enter.
    pub(super) fn allowed_by_google(&self, rules: &Google) -> Result<(), NotAllowed> {
        let mail = self.verified_mail()?;
        if !rules.domains.is_empty() && !rules.domains.iter().any(|domain| self.in_domain(domain)) {
            return Err(NotAllowed::OtherDomain);
        }
        let Some(filter) = &rules.filter else {
            return Ok(());
        };
        match mail {
            None => Err(NotAllowed::UnverifiedMail),
            Some(mail) if filter.is_match(&mail) => Ok(()),
            // People write their filters as they write their addresses.
            Some(_) if self.mail.as_ref().is_some_and(|mail| filter.is_match(mail)) => Ok(()),
            Some(_) => Err(NotAllowed::Filtered),
        }
    }

    fn is_meant(&self, via: Via, rule: &Rule) -> bool {
        let mail = || self.verified_mail().ok().flatten();
        match rule {
            Rule::Everyone => true,
            Rule::GitlabUser(name) => via == Via::Gitlab && self.has_user_name(name),
            Rule::GitlabGroup(group) => via == Via::Gitlab && self.in_group(group),
            Rule::GoogleMail(address) => {
                via == Via::Google && mail().is_some_and(|mail| mail == *address)
            }
            Rule::GoogleDomain(domain) => via == Via::Google && self.in_domain(domain),
            Rule::Basic(_) => false,
        }
    }

    /// What somebody who was let in may do.
    pub(super) fn access(&self, via: Via, auth: &Auth) -> Access {
        access(auth, |rule| self.is_meant(via, rule))
    }

    /// What is kept of them.
    pub(super) fn person(&self, via: Via) -> Result<Person, NotAllowed> {
        // OpenID Connect Core 1.0, 2: at most 255 ASCII characters.
        let subject = self.subject.trim();
        if subject.is_empty() || subject.len() > 255 || subject.chars().any(char::is_control) {
            return Err(NotAllowed::NoSubject);
        }
        let mail = self.verified_mail()?;
        let user_name = self.user_name.as_deref().map(shown);
        let name = self.name.as_deref().map(shown);
        let name = name.filter(|name| !name.is_empty());
        Ok(Person {
            via,
            issuer: self.issuer.clone(),
            name: name
                .or_else(|| user_name.clone())
                .or_else(|| mail.clone())
                .unwrap_or_else(|| shown(subject)),
            subject: subject.to_owned(),
            mail,
            user_name: user_name.filter(|name| !name.is_empty()),
        })
    }
}

/// What the rules give to somebody who was let in.
pub(super) fn access(auth: &Auth, is_meant: impl Fn(&Rule) -> bool) -> Access {
    if auth.admins.iter().any(&is_meant) {
        return Access::Admin;
    }
    if auth.viewers.iter().any(&is_meant) {
        return Access::View;
    }
    if auth.admins.is_empty() {
        return Access::Admin;
    }
    Access::Operate
}

/// What others say, cut and without control characters.
fn shown(text: &str) -> String {
    let clean = text.trim().chars().filter(|c| !c.is_control());
    clean.take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth(admins: &[Rule], viewers: &[Rule]) -> Auth {
        Auth {
            admins: admins.to_vec(),
            viewers: viewers.to_vec(),
            ..Auth::default()
        }
    }

    fn claims(user: &str, mail: &str) -> Claims {
        Claims {
            issuer: "https://a".to_owned(),
            subject: "7".to_owned(),
            user_name: Some(user.to_owned()),
            mail: Some(mail.to_owned()),
            mail_verified: Some(true),
            ..Claims::default()
        }
    }

    #[test]
    fn levels_follow_the_rules_of_their_own_provider() {
        let ops = Rule::GitlabGroup("ops".to_owned());
        let bob = Rule::GoogleMail("bob@example.com".to_owned());
        let rules = auth(&[ops, bob], &[Rule::Everyone]);
        let mut alice = claims("alice", "bob@example.com");
        alice.groups = vec!["OPS/core".to_owned()];
        assert_eq!(alice.access(Via::Gitlab, &rules), Access::Admin);
        alice.groups = vec!["opsx".to_owned(), "x/ops".to_owned()];
        // GitLab does not speak for the address of a Google account, nor Google for groups.
        assert_eq!(alice.access(Via::Gitlab, &rules), Access::View);
        assert_eq!(alice.access(Via::Google, &rules), Access::Admin);
        alice.mail_verified = None;
        assert_eq!(alice.access(Via::Google, &rules), Access::View);
        let name = Rule::GitlabUser("alice".to_owned());
        assert_eq!(alice.access(Via::Gitlab, &auth(&[], &[])), Access::Admin);
        let viewer = auth(&[], std::slice::from_ref(&name));
        assert_eq!(alice.access(Via::Gitlab, &viewer), Access::View);
        let other = auth(&[Rule::GitlabUser("eve".to_owned())], &[]);
        assert_eq!(alice.access(Via::Gitlab, &other), Access::Operate);
    }

    #[test]
    fn what_is_shown_of_people_is_bounded_and_clean() {
        let mut eve = claims("eve\n\u{1b}[31m", "eve@example.com");
        eve.name = Some("x".repeat(1_000));
        let person = eve.person(Via::Gitlab).unwrap();
        assert_eq!(person.name.len(), TEXT_MAX);
        assert_eq!(person.to_string(), "gitlab:eve[31m");
        eve.subject = "a\nb".to_owned();
        assert_eq!(eve.person(Via::Gitlab), Err(NotAllowed::NoSubject));
    }
}

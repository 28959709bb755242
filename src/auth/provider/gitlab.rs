//! GitLab by its own API: for one without OpenID Connect, and for groups.

use serde::Deserialize;

use super::{Provider, ProviderError};
use crate::auth::person::Claims;

/// Groups of a page; GitLab gives no more at once.
const PAGE: usize = 100;

/// Most pages of groups that are read.
const PAGES_MAX: usize = 10;

#[derive(Deserialize)]
struct User {
    id: u64,
    username: String,
    name: Option<String>,
    email: Option<String>,
    /// When the address was confirmed; `null` if it was not, and absent where GitLab does not say.
    #[serde(default, deserialize_with = "present")]
    confirmed_at: Option<Option<String>>,
    state: Option<String>,
    #[serde(default)]
    locked: bool,
}

/// Tells `null` from what is not there.
fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct Group {
    full_path: String,
}

impl Provider {
    /// Who the access token belongs to.
    pub(super) async fn ask_gitlab(
        &self,
        issuer: &str,
        token: &str,
    ) -> Result<Claims, ProviderError> {
        let url = format!("{}/api/v4/user", self.application.provider);
        let user: User = self.ask("who it is", &url, token).await?;
        if user.locked || user.state.is_some_and(|state| state != "active") {
            return Err(ProviderError::Inactive);
        }
        let groups = if self.wants_groups {
            self.gitlab_groups(token).await?
        } else {
            Vec::new()
        };
        Ok(Claims {
            issuer: issuer.to_owned(),
            subject: user.id.to_string(),
            user_name: Some(user.username),
            name: user.name,
            mail_verified: user.confirmed_at.map(|at| at.is_some()),
            mail: user.email.filter(|mail| !mail.is_empty()),
            hosted_domain: None,
            groups,
        })
    }

    /// Full paths of the groups that its owner is a member of, by itself or through a parent.
    pub(super) async fn gitlab_groups(&self, token: &str) -> Result<Vec<String>, ProviderError> {
        let mut paths = Vec::new();
        for page in 1..=PAGES_MAX {
            // 10 is a guest: less is no member.
            let url = format!(
                "{}/api/v4/groups?min_access_level=10&per_page={PAGE}&page={page}",
                self.application.provider
            );
            let groups: Vec<Group> = self.ask("the groups", &url, token).await?;
            let last = groups.len() < PAGE;
            paths.extend(groups.into_iter().map(|group| group.full_path));
            if last {
                return Ok(paths);
            }
        }
        tracing::warn!(
            "somebody is in more than {} groups: the others do not count",
            paths.len()
        );
        Ok(paths)
    }
}

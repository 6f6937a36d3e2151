//! Which repositories are ours to work on. A pure rule; knows no platform.

use super::{InvalidId, RepoName};

/// The managed list: `owner/name`, `owner/*` or `*`. Empty: nothing is managed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManagedRepos(Vec<Pattern>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    All,
    Owner(String),
    One(RepoName),
}

impl ManagedRepos {
    /// Reads a list of patterns.
    ///
    /// # Errors
    /// The first pattern that is none of the three forms.
    pub fn parse<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidId> {
        patterns
            .into_iter()
            .map(Pattern::parse)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether a repository is managed. Case is ignored, as GitHub does.
    #[must_use]
    pub fn admits(&self, repo: &RepoName) -> bool {
        self.0.iter().any(|pattern| match pattern {
            Pattern::All => true,
            Pattern::Owner(owner) => owner.eq_ignore_ascii_case(repo.owner()),
            Pattern::One(one) => one.as_str().eq_ignore_ascii_case(repo.as_str()),
        })
    }

    /// Whether nothing is managed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The repositories that are named outright; patterns with a star are left out.
    pub fn named(&self) -> impl Iterator<Item = &RepoName> {
        self.0.iter().filter_map(|pattern| match pattern {
            Pattern::One(repo) => Some(repo),
            Pattern::All | Pattern::Owner(_) => None,
        })
    }
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, InvalidId> {
        if text == "*" {
            return Ok(Self::All);
        }
        if let Some(owner) = text.strip_suffix("/*") {
            // A repository of any name stands in, so that the owner is held to the one rule for owners.
            return format!("{owner}/x")
                .parse::<RepoName>()
                .map(|repo| Self::Owner(repo.owner().to_owned()));
        }
        text.parse().map(Self::One)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_admits_names_owners_and_everything() {
        let table: &[(&[&str], &str, bool)] = &[
            (&[], "acme/site", false),
            (&["acme/site"], "acme/site", true),
            (&["acme/site"], "ACME/Site", true),
            (&["acme/site"], "acme/site2", false),
            (&["acme/*"], "acme/anything", true),
            (&["acme/*"], "acme2/anything", false),
            (&["*"], "who/ever", true),
            (&["a/b", "acme/*"], "acme/x", true),
        ];
        for (patterns, repo, admitted) in table {
            let list = ManagedRepos::parse(patterns.iter().copied()).expect("valid patterns");
            assert_eq!(
                list.admits(&repo.parse().expect("valid")),
                *admitted,
                "{patterns:?} {repo}"
            );
        }
    }

    #[test]
    fn a_pattern_of_another_form_is_refused() {
        for bad in ["acme", "*/site", "acme/**", "", "acme/*/x"] {
            assert!(ManagedRepos::parse([bad]).is_err(), "{bad:?}");
        }
    }
}

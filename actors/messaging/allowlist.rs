//! Who may talk to us. Pure; decided by id, before anything else is looked at or built.

use std::collections::BTreeSet;

/// The people who may talk to us, by their id at the platform.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedUsers(BTreeSet<String>);

impl AllowedUsers {
    /// An empty list admits everybody in the workspace.
    pub fn new(ids: impl IntoIterator<Item = String>) -> Self {
        let ids = ids.into_iter().map(|id| id.trim().to_owned());
        Self(ids.filter(|id| !id.is_empty()).collect())
    }

    /// Whether this person may talk to us. Ids are compared as they are: a platform never changes their case.
    #[must_use]
    pub fn admits(&self, user: &str) -> bool {
        self.0.is_empty() || self.0.contains(user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_list_admits_everybody_and_any_other_only_its_own() {
        assert!(AllowedUsers::default().admits("U1"));
        assert!(AllowedUsers::new([" ".to_owned()]).admits("U1"));
        let list = AllowedUsers::new(["U1".to_owned(), " U2 ".to_owned()]);
        for (user, admitted) in [("U1", true), ("U2", true), ("U3", false), ("u1", false), ("", false)] {
            assert_eq!(list.admits(user), admitted, "{user}");
        }
    }
}

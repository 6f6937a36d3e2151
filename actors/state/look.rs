//! A look at the state file from beside the service: whether it would be read, and what lies aside. Takes no lock and changes nothing.

use std::path::Path;

use super::file::{self, Found};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// How the file does.
    pub file: LookedAt,
    /// Names of broken files that were set aside and still lie beside it, oldest first.
    pub aside: Vec<String>,
}

/// How the file does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookedAt {
    /// There is none yet.
    Nothing,
    /// It is a state, with so many webhooks and notifications.
    Sound {
        /// Webhooks.
        webhooks: usize,
        /// Notifications in its history.
        notifications: usize,
    },
    /// It is no state: what is wrong with it. The service would set it aside.
    Broken(String),
    /// It cannot be read at all: why.
    Unreadable(String),
}

/// Looks at the state file at this path.
#[must_use]
pub fn look(path: &Path) -> Look {
    let file = match file::read_state(path) {
        Ok(Found::Nothing) => LookedAt::Nothing,
        Ok(Found::State(state, _)) => LookedAt::Sound {
            webhooks: state.webhooks.len(),
            notifications: state.notifications.len(),
        },
        Ok(Found::Corrupt(why)) => LookedAt::Broken(why),
        Err(error) => LookedAt::Unreadable(error.to_string()),
    };
    Look {
        file,
        aside: file::lying_aside(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_file_is_looked_at_and_left_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("integrations.json");
        assert_eq!(look(&path).file, LookedAt::Nothing);
        let table = [
            (
                "{\"version\":1,\"updated_at\":\"\",\"webhooks\":[],\"git_auto_commit\":{\"enabled\":false,\"on_events\":[]},\"notifications\":[]}",
                "Sound",
            ),
            ("{\"version\":1,", "Broken"),
            ("{\"version\":99}", "Unreadable"),
        ];
        for (text, expected) in table {
            std::fs::write(&path, text).expect("written");
            let found = look(&path);
            assert!(format!("{:?}", found.file).starts_with(expected), "{text}: {found:?}");
            assert_eq!(std::fs::read_to_string(&path).expect("read"), text);
        }
        std::fs::write(folder.path().join("integrations.json.corrupt-1"), "x").expect("written");
        assert_eq!(look(&path).aside, ["integrations.json.corrupt-1"]);
    }
}

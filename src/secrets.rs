//! Secrets that the house makes for itself at its first boot, one file each. Never prints one but to a terminal that asked for it.

use std::fs::{self, OpenOptions};
use std::io::{IsTerminal, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use actors::domain::Secret;
use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Only its owner may enter the folder, and only its owner may read a file of it.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The folder `<state>/secrets`.
#[derive(Debug)]
pub(crate) struct SecretsFolder(PathBuf);

impl SecretsFolder {
    /// Makes the folder, or narrows its mode if it is there.
    ///
    /// # Errors
    /// When it can be neither made nor narrowed.
    pub(crate) fn open(state_dir: &Path) -> anyhow::Result<Self> {
        let folder = state_dir.join("secrets");
        if !folder.is_dir() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(FOLDER_MODE)
                .create(&folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(FOLDER_MODE))
            .with_context(|| format!("cannot narrow the mode of {}", folder.display()))?;
        Ok(Self(folder))
    }

    /// The secret of this name: as configured, else as an earlier boot made it, else a new one of 256 bits.
    ///
    /// # Errors
    /// When the file can be neither read nor written, or is empty.
    pub(crate) fn obtain(&self, name: &str, configured: Option<&Secret>) -> anyhow::Result<Secret> {
        if let Some(secret) = configured.filter(|secret| !secret.is_empty()) {
            return Ok(secret.clone());
        }
        let path = self.0.join(name);
        match read(&path) {
            Ok(text) => {
                ensure!(
                    !text.is_empty(),
                    "{} is empty; remove it to have a new one made",
                    path.display()
                );
                narrow(&path)?;
                return Ok(Secret::new(text));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
        let secret = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        write(&path, &secret).with_context(|| format!("cannot write {}", path.display()))?;
        tracing::info!(file = %path.display(), "made a new {name}; it is in the file");
        if name == "admin_password" && std::io::stderr().is_terminal() {
            eprintln!("admin password: {secret}");
        }
        Ok(Secret::new(secret))
    }
}

/// The secret of this name as an earlier boot made it, if there is one and we may read it. Makes none.
pub(crate) fn kept(state_dir: &Path, name: &str) -> Option<Secret> {
    let text = read(&state_dir.join("secrets").join(name)).ok()?;
    (!text.is_empty()).then(|| Secret::new(text))
}

/// Takes the file away from everybody but its owner, if somebody has opened it to others.
fn narrow(path: &Path) -> anyhow::Result<()> {
    let unknown = || format!("cannot see who may read {}", path.display());
    let mode = fs::metadata(path).with_context(unknown)?.permissions().mode();
    if mode & !FILE_MODE & 0o777 != 0 {
        tracing::warn!(file = %path.display(), "others could read this secret; only its owner can now");
        fs::set_permissions(path, fs::Permissions::from_mode(FILE_MODE))
            .with_context(|| format!("cannot narrow the mode of {}", path.display()))?;
    }
    Ok(())
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    OpenOptions::new().read(true).open(path)?.read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

/// Whole or not at all: a crash must not leave half a secret that later boots would trust.
fn write(path: &Path, secret: &str) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(&temporary)?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_kept_from_others() {
        let state = tempfile::tempdir().expect("a folder");
        let folder = SecretsFolder::open(state.path()).expect("a fresh folder");
        let first = folder.obtain("admin_secret", None).expect("made");
        let again = folder.obtain("admin_secret", None).expect("kept");
        assert_eq!(first.expose(), again.expose());
        assert!(first.expose().len() >= 43, "256 bits in base64");
        let mode = |path: PathBuf| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(state.path().join("secrets")), 0o700);
        assert_eq!(mode(state.path().join("secrets/admin_secret")), 0o600);
    }

    #[test]
    fn a_configured_secret_is_not_written_down() {
        let state = tempfile::tempdir().expect("a folder");
        let folder = SecretsFolder::open(state.path()).expect("a fresh folder");
        let secret = folder
            .obtain("admin_password", Some(&Secret::new("mine")))
            .expect("given");
        assert_eq!(secret.expose(), "mine");
        assert!(!state.path().join("secrets/admin_password").exists());
    }

    #[test]
    fn a_file_that_was_opened_to_others_is_closed_again() {
        let state = tempfile::tempdir().expect("a folder");
        let folder = SecretsFolder::open(state.path()).expect("a fresh folder");
        let path = state.path().join("secrets/admin_password");
        fs::write(&path, "mine").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("opened");
        assert_eq!(folder.obtain("admin_password", None).expect("kept").expose(), "mine");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn an_emptied_file_is_reported_not_trusted() {
        let state = tempfile::tempdir().expect("a folder");
        let folder = SecretsFolder::open(state.path()).expect("a fresh folder");
        fs::write(state.path().join("secrets/admin_secret"), "\n").expect("written");
        let error = folder.obtain("admin_secret", None).expect_err("empty");
        assert!(error.to_string().contains("is empty"), "{error}");
    }
}

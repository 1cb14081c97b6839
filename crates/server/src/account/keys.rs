//! Key files: a seed each, for their owner alone.

use std::{fs::DirBuilder, io, os::unix::fs::DirBuilderExt as _, path::Path};

use nkeys::{KeyPair, KeyPairType};

use crate::private;

/// The folders of keys are for their owner alone.
const OWNER_ONLY: u32 = 0o700;

/// Makes a folder and those above it.
pub(super) fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(path)
}

/// The key of a file.
pub(super) fn load(path: &Path) -> io::Result<KeyPair> {
    let seed = std::fs::read_to_string(path)?;
    // What the crate says about a bad seed could quote it.
    KeyPair::from_seed(seed.trim())
        .map_err(|_bad| io::Error::new(io::ErrorKind::InvalidData, "there is no key in it"))
}

/// The key of a file; a new one where there is no file.
pub(super) fn load_or_make(path: &Path, kind: KeyPairType) -> io::Result<KeyPair> {
    match load(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = KeyPair::new(kind);
            save(path, &key)?;
            Ok(key)
        }
        loaded => loaded,
    }
}

/// Writes a key down.
pub(super) fn save(path: &Path, key: &KeyPair) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        folder(parent)?;
    }
    private::write(path, format!("{}\n", seed(key)?).as_bytes())
}

/// The seed of a key.
pub(super) fn seed(key: &KeyPair) -> io::Result<String> {
    key.seed().map_err(|error| io::Error::other(error.to_string()))
}

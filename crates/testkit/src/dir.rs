//! A folder of a test's own, gone when the test is over.

use std::path::{Path, PathBuf};

/// A new empty folder; dropping it removes it and all that is in it.
#[derive(Debug)]
pub struct TempDir(tempfile::TempDir);

impl TempDir {
    /// Makes the folder. `purpose` becomes part of its name, for whoever looks at a stopped test.
    #[must_use]
    pub fn new(purpose: &str) -> Self {
        let prefix = format!("sinew-{purpose}-");
        Self(tempfile::Builder::new().prefix(&prefix).tempdir().expect("making a temporary folder"))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The path of something in it.
    #[must_use]
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }
}

impl AsRef<Path> for TempDir {
    fn as_ref(&self) -> &Path {
        self.path()
    }
}

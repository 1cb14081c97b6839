//! Files that only their owner may read: they hold passwords. A reader sees the old content or the
//! new one, never half of one.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Read and write for the owner, nothing for anybody else.
const OWNER_ONLY: u32 = 0o600;

/// The same for a folder, which is also entered.
const FOLDER_ONLY: u32 = 0o700;

/// Replaces the file at `path`.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let draft = path.with_extension(format!("{}.draft", sinew_bus::clock::unique()));
    let written = write_draft(&draft, content).and_then(|()| std::fs::rename(&draft, path));
    if written.is_err() {
        // The first failure is the one to tell; the draft may not even be there.
        std::fs::remove_file(&draft).ok();
        return written;
    }
    // The new name must outlive a power cut, as the content does.
    File::open(folder)?.sync_all()
}

/// Makes a folder and those above it, for its owner alone.
pub(crate) fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_ONLY).create(path)
}

fn write_draft(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    use sinew_testkit::TempDir;

    #[test]
    fn a_file_is_replaced_whole_and_stays_private() {
        let folder = TempDir::new("private");
        let path = folder.join("secret.json");
        std::fs::write(&path, "a much longer old content that others may read").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a draft is left");
    }

    #[test]
    fn a_failure_leaves_no_draft() {
        let folder = TempDir::new("private");
        let path = folder.join("taken");
        std::fs::create_dir(&path).unwrap();
        std::fs::create_dir(path.join("full")).unwrap();
        assert!(write(&path, b"new").is_err(), "a folder was replaced by a file");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a draft is left");
    }
}

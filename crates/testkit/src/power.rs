//! A folder whose power can be cut: what was not made durable is then gone, as on a real disk,
//! and a server that is started on it sees what it would have seen there. The disk of a test
//! machine shows no such thing, because the system's cache outlives a killed process.
//!
//! It is a FUSE file system in the memory of the test, so it needs Linux, `/dev/fuse` and the
//! right to mount. Where these are missing a test must say loudly that it did not run:
//! [`PowerStore::start`] gives the words.

mod mount;
mod tree;

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use fuser::{BackgroundSession, MountOption};

use crate::{TempDir, wait};
use mount::Mounted;
use tree::Tree;

/// A server that was killed a moment ago may still hold files open.
const UNMOUNT_DEADLINE: Duration = Duration::from_secs(10);

/// When the entries of a folder (creations, renames, removals) are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entries {
    /// In the order in which they were made, with whatever is synced next: a file system with a
    /// journal, as ext4 and xfs are. What a file holds is durable only once it was synced itself.
    Journaled,
    /// Once the folder itself was synced, and not before: the least that POSIX allows.
    Strict,
}

/// There are no such folders here.
#[derive(Debug)]
pub struct Missing(String);

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "a store whose power can be cut needs /dev/fuse and the right to mount: {}",
            self.0
        )
    }
}

impl std::error::Error for Missing {}

/// The folder. Dropping it unmounts it and forgets what it held; whatever uses it must be gone by
/// then.
#[derive(Debug)]
pub struct PowerStore {
    tree: Arc<Mutex<Tree>>,
    /// `None` only within a power cut.
    session: Mutex<Option<BackgroundSession>>,
    /// Last, because it may be removed only after nothing is mounted there.
    dir: TempDir,
}

impl PowerStore {
    /// An empty one.
    ///
    /// # Errors
    /// When such a folder cannot be had on this machine.
    pub fn start(entries: Entries) -> Result<Self, Missing> {
        if !Path::new("/dev/fuse").exists() {
            return Err(Missing("there is no /dev/fuse".to_owned()));
        }
        let tree = Arc::new(Mutex::new(Tree::new(entries, now())));
        let dir = TempDir::new("power");
        let session = mount(&tree, dir.path()).map_err(|error| Missing(error.to_string()))?;
        Ok(Self { tree, session: Mutex::new(Some(session)), dir })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Takes everything that was not made durable: contents, lengths, entries of folders. Whoever
    /// had files open must have been killed before.
    ///
    /// # Panics
    /// When something still uses the folder, or it cannot be mounted again.
    pub fn power_cut(&self) {
        // Mounted anew, so that nothing is left of it in the system's cache either.
        self.unmount();
        self.tree().cut();
        *self.session() = Some(mount(&self.tree, self.path()).expect("mounting the store again"));
    }

    /// Makes everything durable.
    pub fn sync_all(&self) {
        self.tree().sync_all();
    }

    /// Lets the folder be full, at what it holds now; or have room again.
    pub fn set_full(&self, full: bool) {
        self.tree().limit(full);
    }

    fn unmount(&self) {
        if let Some(session) = self.session().take() {
            let path = self.path().to_owned();
            wait::until_blocking("the store to be let go", UNMOUNT_DEADLINE, || {
                rustix::mount::unmount(&path, rustix::mount::UnmountFlags::empty())
                    .map_err(|error| error.to_string())
            });
            session.join().expect("the store serves until it is unmounted");
        }
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self) -> MutexGuard<'_, Option<BackgroundSession>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PowerStore {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Whatever still uses it keeps it until it ends; there is nothing to wait for.
            rustix::mount::unmount(self.path(), rustix::mount::UnmountFlags::DETACH).ok();
            drop(self.session().take());
        } else {
            self.unmount();
        }
    }
}

fn mount(tree: &Arc<Mutex<Tree>>, at: &Path) -> std::io::Result<BackgroundSession> {
    let mut config = fuser::Config::default();
    config.mount_options =
        vec![MountOption::FSName("sinew-power".to_owned()), MountOption::NoAtime];
    fuser::spawn_mount(Mounted::new(Arc::clone(tree)), at, &config)
}

#[expect(clippy::disallowed_methods, reason = "a file knows when it was changed")]
fn now() -> SystemTime {
    SystemTime::now()
}

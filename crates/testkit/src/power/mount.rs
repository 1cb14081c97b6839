//! What the kernel asks of the store, answered from the tree.

use std::{
    ffi::OsStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::{
    now,
    tree::{Body, Bytes, Names, Node, Refusal, Tree},
};

/// Nobody but the kernel changes the store, so it may remember what it was told.
const REMEMBER: Duration = Duration::from_secs(3600);

/// What the store says of its blocks.
const BLOCK: u32 = 4096;

/// Blocks that the store says it has: 64 GiB. That it is full it says when it is written to.
const BLOCKS: u64 = 16 << 20;

/// The tree as a file system.
pub(super) struct Mounted {
    tree: Arc<Mutex<Tree>>,
    /// Who mounts it owns all that is in it.
    owner: (u32, u32),
}

impl Mounted {
    pub(super) fn new(tree: Arc<Mutex<Tree>>) -> Self {
        let owner = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        Self { tree, owner }
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attributes(&self, id: u64, node: &Node) -> FileAttr {
        let (kind, size) = match &node.body {
            Body::File(bytes) => (FileType::RegularFile, bytes.live.len() as u64),
            Body::Folder(_) => (FileType::Directory, 0),
        };
        let at = node.changed;
        FileAttr {
            ino: INodeNo(id),
            size,
            blocks: size.div_ceil(512),
            atime: at,
            mtime: at,
            ctime: at,
            crtime: at,
            kind,
            perm: u16::try_from(node.mode & 0o7777).unwrap_or_default(),
            nlink: 1,
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            blksize: BLOCK,
            flags: 0,
        }
    }

    fn make(
        &self,
        (folder, name): (INodeNo, &OsStr),
        body: Body,
        mode: u32,
    ) -> Result<FileAttr, Refusal> {
        let mut tree = self.tree();
        let id = tree.make((folder.0, name), body, (mode, now()))?;
        Ok(self.attributes(id, tree.node(id)?))
    }
}

fn errno(refusal: Refusal) -> Errno {
    match refusal {
        Refusal::NoEntry => Errno::ENOENT,
        Refusal::Exists => Errno::EEXIST,
        Refusal::NotEmpty => Errno::ENOTEMPTY,
        Refusal::NotFolder => Errno::ENOTDIR,
        Refusal::IsFolder => Errno::EISDIR,
        Refusal::NoSpace => Errno::ENOSPC,
    }
}

fn done(outcome: Result<(), Refusal>, reply: ReplyEmpty) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(refusal) => reply.error(errno(refusal)),
    }
}

/// A place in a file. Nothing in memory is larger.
fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl Filesystem for Mounted {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let tree = self.tree();
        let found = tree.lookup(parent.0, name).and_then(|id| Ok((id, tree.node(id)?)));
        match found {
            Ok((id, node)) => reply.entry(&REMEMBER, &self.attributes(id, node), Generation(0)),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.tree().node(ino.0) {
            Ok(node) => reply.attr(&REMEMBER, &self.attributes(ino.0, node)),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut tree = self.tree();
        let mut set = || {
            if let Some(size) = size {
                tree.truncate(ino.0, place(size))?;
            }
            let node = tree.node_mut(ino.0)?;
            node.mode = mode.unwrap_or(node.mode);
            node.changed = match mtime {
                Some(TimeOrNow::SpecificTime(at)) => at,
                Some(TimeOrNow::Now) => now(),
                None => node.changed,
            };
            Ok(self.attributes(ino.0, node))
        };
        match set() {
            Ok(attributes) => reply.attr(&REMEMBER, &attributes),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        match self.make((parent, name), Body::Folder(Names::default()), mode & !umask) {
            Ok(attributes) => reply.entry(&REMEMBER, &attributes, Generation(0)),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let made = self.make((parent, name), Body::File(Bytes::default()), mode & !umask);
        match made.and_then(|it| self.tree().open(it.ino.0).map(|()| it)) {
            Ok(it) => {
                let handle = FileHandle(it.ino.0);
                reply.created(&REMEMBER, &it, Generation(0), handle, FopenFlags::empty());
            }
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.tree().open(ino.0) {
            Ok(()) => reply.opened(FileHandle(ino.0), FopenFlags::empty()),
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.tree().release(ino.0);
        reply.ok();
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.tree().bytes(ino.0) {
            Ok(bytes) => {
                let end = place(offset + u64::from(size)).min(bytes.live.len());
                reply.data(bytes.live.get(place(offset)..end).unwrap_or_default());
            }
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        // One that is opened with O_SYNC is synced by the kernel, with a request of its own.
        let mut tree = self.tree();
        match tree.write(ino.0, place(offset), data) {
            Ok(()) => {
                if let Ok(node) = tree.node_mut(ino.0) {
                    node.changed = now();
                }
                reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX));
            }
            Err(refusal) => reply.error(errno(refusal)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // A close makes nothing durable.
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(self.tree().sync(ino.0), reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(self.tree().sync(ino.0), reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.tree().unlink((parent.0, name)), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.tree().remove_folder((parent.0, name)), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if flags.contains(RenameFlags::RENAME_EXCHANGE) {
            return reply.error(Errno::EINVAL);
        }
        let may_replace = !flags.contains(RenameFlags::RENAME_NOREPLACE);
        let (from, to) = ((parent.0, name), (newparent.0, newname));
        done(self.tree().rename(from, to, may_replace), reply);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let tree = self.tree();
        let names = match tree.names(ino.0) {
            Ok(names) => names,
            Err(refusal) => return reply.error(errno(refusal)),
        };
        // A number of an entry stays with it while others come and go: that of its node.
        let mut entries: Vec<_> = names.live.iter().map(|(name, id)| (*id, name)).collect();
        entries.sort_unstable();
        for (id, name) in entries.into_iter().filter(|(id, _)| *id > offset) {
            let folder = tree.names(id).is_ok();
            let kind = if folder { FileType::Directory } else { FileType::RegularFile };
            if reply.add(INodeNo(id), id, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCK, 255, BLOCK);
    }
}

//! The files of a store in two states: as they are, and as they would be after a power cut. Pure,
//! so that what is durable when can be tested without a mount.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    ops::Range,
    time::SystemTime,
};

use super::Entries;

/// The number of the root folder, as FUSE has it.
pub(super) const ROOT: u64 = 1;

/// Why something cannot be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    NoEntry,
    Exists,
    NotEmpty,
    NotFolder,
    IsFolder,
    NoSpace,
}

type Answer<T> = Result<T, Refusal>;

/// A file or folder.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) body: Body,
    pub(super) mode: u32,
    pub(super) changed: SystemTime,
    /// Entries that name it, live and durable, and handles that are open on it. When nothing holds
    /// it, it is gone.
    held: u64,
}

#[derive(Debug)]
pub(super) enum Body {
    File(Bytes),
    Folder(Names),
}

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    pub(super) live: Vec<u8>,
    durable: Vec<u8>,
    /// Where the two may differ; a length that differs is besides.
    dirty: Range<usize>,
}

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) live: BTreeMap<OsString, u64>,
    durable: BTreeMap<OsString, u64>,
}

/// The whole store.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    entries: Entries,
    /// Folders whose entries are not durable.
    dirty: BTreeSet<u64>,
    /// Bytes of all files.
    used: usize,
    /// Bytes that there is room for.
    room: usize,
}

impl Bytes {
    fn touch(&mut self, from: usize, to: usize) {
        let Range { start, end } = self.dirty;
        self.dirty = if start == end { from..to } else { start.min(from)..end.max(to) };
    }

    fn sync(&mut self) {
        self.durable.resize(self.live.len(), 0);
        let end = self.dirty.end.min(self.live.len());
        let range = self.dirty.start.min(end)..end;
        if let (Some(to), Some(from)) = (self.durable.get_mut(range.clone()), self.live.get(range))
        {
            to.copy_from_slice(from);
        }
        self.dirty = 0..0;
    }
}

impl Tree {
    pub(super) fn new(entries: Entries, now: SystemTime) -> Self {
        let body = Body::Folder(Names::default());
        let root = Node { body, mode: 0o755, changed: now, held: 1 };
        Self {
            nodes: [(ROOT, root)].into(),
            next: ROOT + 1,
            entries,
            dirty: BTreeSet::new(),
            used: 0,
            room: usize::MAX,
        }
    }

    pub(super) fn node(&self, id: u64) -> Answer<&Node> {
        self.nodes.get(&id).ok_or(Refusal::NoEntry)
    }

    pub(super) fn node_mut(&mut self, id: u64) -> Answer<&mut Node> {
        self.nodes.get_mut(&id).ok_or(Refusal::NoEntry)
    }

    pub(super) fn names(&self, id: u64) -> Answer<&Names> {
        match &self.node(id)?.body {
            Body::Folder(names) => Ok(names),
            Body::File(_) => Err(Refusal::NotFolder),
        }
    }

    pub(super) fn bytes(&self, id: u64) -> Answer<&Bytes> {
        match &self.node(id)?.body {
            Body::File(bytes) => Ok(bytes),
            Body::Folder(_) => Err(Refusal::IsFolder),
        }
    }

    fn names_mut(&mut self, id: u64) -> Answer<&mut Names> {
        match &mut self.node_mut(id)?.body {
            Body::Folder(names) => Ok(names),
            Body::File(_) => Err(Refusal::NotFolder),
        }
    }

    fn bytes_mut(&mut self, id: u64) -> Answer<&mut Bytes> {
        match &mut self.node_mut(id)?.body {
            Body::File(bytes) => Ok(bytes),
            Body::Folder(_) => Err(Refusal::IsFolder),
        }
    }

    pub(super) fn lookup(&self, folder: u64, name: &OsStr) -> Answer<u64> {
        self.names(folder)?.live.get(name).copied().ok_or(Refusal::NoEntry)
    }

    pub(super) fn make(
        &mut self,
        (folder, name): (u64, &OsStr),
        body: Body,
        (mode, now): (u32, SystemTime),
    ) -> Answer<u64> {
        if self.names(folder)?.live.contains_key(name) {
            return Err(Refusal::Exists);
        }
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, Node { body, mode, changed: now, held: 0 });
        self.bind((folder, name), id)?;
        Ok(id)
    }

    pub(super) fn unlink(&mut self, (folder, name): (u64, &OsStr)) -> Answer<()> {
        let id = self.lookup(folder, name)?;
        self.bytes(id)?;
        self.unbind((folder, name))
    }

    pub(super) fn remove_folder(&mut self, (folder, name): (u64, &OsStr)) -> Answer<()> {
        let id = self.lookup(folder, name)?;
        if !self.names(id)?.live.is_empty() {
            return Err(Refusal::NotEmpty);
        }
        self.unbind((folder, name))
    }

    pub(super) fn rename(
        &mut self,
        from: (u64, &OsStr),
        to: (u64, &OsStr),
        may_replace: bool,
    ) -> Answer<()> {
        let id = self.lookup(from.0, from.1)?;
        match self.lookup(to.0, to.1) {
            Ok(_) if !may_replace => return Err(Refusal::Exists),
            Ok(other) if other == id => return Ok(()),
            Ok(other) => {
                if self.names(other).is_ok_and(|names| !names.live.is_empty()) {
                    return Err(Refusal::NotEmpty);
                }
                self.unbind(to)?;
            }
            Err(_) => {}
        }
        self.bind(to, id)?;
        self.unbind(from)
    }

    pub(super) fn write(&mut self, id: u64, offset: usize, data: &[u8]) -> Answer<()> {
        let end = offset + data.len();
        let before = self.bytes(id)?.live.len();
        if end > before {
            self.grow(end - before)?;
        }
        let bytes = self.bytes_mut(id)?;
        if end > before {
            bytes.live.resize(end, 0);
        }
        if let Some(place) = bytes.live.get_mut(offset..end) {
            place.copy_from_slice(data);
        }
        bytes.touch(offset.min(before), end);
        Ok(())
    }

    pub(super) fn truncate(&mut self, id: u64, length: usize) -> Answer<()> {
        let before = self.bytes(id)?.live.len();
        if length > before {
            self.grow(length - before)?;
        } else {
            self.used -= before - length;
        }
        let bytes = self.bytes_mut(id)?;
        bytes.live.resize(length, 0);
        // What is written there again later differs from what was there before.
        bytes.touch(length.min(before), length.max(before));
        Ok(())
    }

    pub(super) fn open(&mut self, id: u64) -> Answer<()> {
        self.node_mut(id)?.held += 1;
        Ok(())
    }

    /// One entry or handle less holds it.
    pub(super) fn release(&mut self, id: u64) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.held -= 1;
        if node.held > 0 {
            return;
        }
        self.dirty.remove(&id);
        match self.nodes.remove(&id).map(|node| node.body) {
            Some(Body::File(bytes)) => self.used -= bytes.live.len(),
            Some(Body::Folder(names)) => {
                names.live.into_values().chain(names.durable.into_values()).for_each(|id| {
                    self.release(id);
                });
            }
            None => {}
        }
    }

    /// Makes a file or folder durable, and what goes with it.
    pub(super) fn sync(&mut self, id: u64) -> Answer<()> {
        if let Body::File(bytes) = &mut self.node_mut(id)?.body {
            bytes.sync();
        }
        match self.entries {
            Entries::Journaled => self.commit_folders(),
            Entries::Strict => self.commit(id),
        }
        Ok(())
    }

    /// Makes everything durable.
    pub(super) fn sync_all(&mut self) {
        for node in self.nodes.values_mut() {
            if let Body::File(bytes) = &mut node.body {
                bytes.sync();
            }
        }
        self.commit_folders();
    }

    /// Takes everything that is not durable.
    pub(super) fn cut(&mut self) {
        let mut kept = BTreeMap::new();
        let mut found = vec![ROOT];
        self.used = 0;
        while let Some(id) = found.pop() {
            let Some(mut node) = self.nodes.remove(&id) else { continue };
            // A durable entry holds it twice: it is live again, too.
            node.held = 2;
            match &mut node.body {
                Body::File(bytes) => {
                    bytes.live.clone_from(&bytes.durable);
                    bytes.dirty = 0..0;
                    self.used += bytes.live.len();
                }
                Body::Folder(names) => {
                    names.live.clone_from(&names.durable);
                    found.extend(names.durable.values());
                }
            }
            kept.insert(id, node);
        }
        self.nodes = kept;
        self.dirty.clear();
    }

    /// Leaves no room for more than there is; or all room.
    pub(super) fn limit(&mut self, full: bool) {
        self.room = if full { self.used } else { usize::MAX };
    }

    fn grow(&mut self, by: usize) -> Answer<()> {
        if self.used + by > self.room {
            return Err(Refusal::NoSpace);
        }
        self.used += by;
        Ok(())
    }

    fn bind(&mut self, (folder, name): (u64, &OsStr), id: u64) -> Answer<()> {
        self.names_mut(folder)?.live.insert(name.to_owned(), id);
        self.dirty.insert(folder);
        self.open(id)
    }

    fn unbind(&mut self, (folder, name): (u64, &OsStr)) -> Answer<()> {
        let id = self.names_mut(folder)?.live.remove(name).ok_or(Refusal::NoEntry)?;
        self.dirty.insert(folder);
        self.release(id);
        Ok(())
    }

    fn commit_folders(&mut self) {
        for id in std::mem::take(&mut self.dirty) {
            self.commit(id);
        }
    }

    /// Makes the entries of a folder durable.
    fn commit(&mut self, id: u64) {
        self.dirty.remove(&id);
        let Ok(names) = self.names_mut(id) else { return };
        let live = names.live.clone();
        let before = std::mem::replace(&mut names.durable, live.clone());
        for id in live.into_values() {
            if let Ok(node) = self.node_mut(id) {
                node.held += 1;
            }
        }
        before.into_values().for_each(|id| self.release(id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Store(Tree);

    impl Store {
        fn new(entries: Entries) -> Self {
            Self(Tree::new(entries, SystemTime::UNIX_EPOCH))
        }

        fn file(&mut self, name: &str) -> u64 {
            let body = Body::File(Bytes::default());
            let about = (0o644, SystemTime::UNIX_EPOCH);
            self.0.make((ROOT, OsStr::new(name)), body, about).unwrap()
        }

        fn write(&mut self, id: u64, offset: usize, text: &str) {
            self.0.write(id, offset, text.as_bytes()).unwrap();
        }

        /// The files after a power cut.
        fn after_cut(&mut self) -> Vec<(String, String)> {
            self.0.cut();
            let names = self.0.names(ROOT).unwrap().live.clone();
            let text = |id| String::from_utf8(self.0.bytes(id).unwrap().live.clone()).unwrap();
            names.into_iter().map(|(n, id)| (n.into_string().unwrap(), text(id))).collect()
        }
    }

    fn files(them: &[(&str, &str)]) -> Vec<(String, String)> {
        them.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn what_was_not_synced_is_gone() {
        let mut store = Store::new(Entries::Journaled);
        let kept = store.file("kept");
        store.write(kept, 0, "first");
        store.0.sync(kept).unwrap();
        store.write(kept, 5, " second");
        store.write(kept, 0, "F");
        store.file("lost");
        assert_eq!(store.after_cut(), files(&[("kept", "first")]));
    }

    #[test]
    fn a_journal_keeps_the_entries_that_were_made_before_but_not_the_data() {
        let mut store = Store::new(Entries::Journaled);
        let early = store.file("early");
        store.write(early, 0, "never synced");
        let synced = store.file("synced");
        store.0.sync(synced).unwrap();
        assert_eq!(store.after_cut(), files(&[("early", ""), ("synced", "")]));
    }

    #[test]
    fn strictly_an_entry_is_durable_with_its_folder_alone() {
        let mut store = Store::new(Entries::Strict);
        let lost = store.file("lost");
        store.write(lost, 0, "data");
        store.0.sync(lost).unwrap();
        assert_eq!(store.after_cut(), files(&[]));
        let kept = store.file("kept");
        store.write(kept, 0, "data");
        store.0.sync(kept).unwrap();
        store.0.sync(ROOT).unwrap();
        assert_eq!(store.after_cut(), files(&[("kept", "data")]));
    }

    #[test]
    fn renames_unlinks_and_truncations_come_back() {
        for entries in [Entries::Journaled, Entries::Strict] {
            let mut store = Store::new(entries);
            let (a, b) = (store.file("a"), store.file("b"));
            store.write(a, 0, "of a");
            store.write(b, 0, "of b");
            store.0.sync_all();
            store.0.rename((ROOT, OsStr::new("a")), (ROOT, OsStr::new("b")), true).unwrap();
            store.0.truncate(a, 1).unwrap();
            assert_eq!(store.after_cut(), files(&[("a", "of a"), ("b", "of b")]));
            store.0.unlink((ROOT, OsStr::new("a"))).unwrap();
            assert_eq!(store.after_cut(), files(&[("a", "of a"), ("b", "of b")]));
            store.0.unlink((ROOT, OsStr::new("a"))).unwrap();
            store.0.sync(ROOT).unwrap();
            assert_eq!(store.after_cut(), files(&[("b", "of b")]));
            // Shorter, and then written again where it had been cut off.
            store.0.truncate(b, 1).unwrap();
            store.write(b, 1, "!!");
            store.0.sync(b).unwrap();
            assert_eq!(store.after_cut(), files(&[("b", "o!!")]));
        }
    }

    #[test]
    fn a_full_store_takes_no_more_until_something_goes() {
        let mut store = Store::new(Entries::Journaled);
        let (a, b) = (store.file("a"), store.file("b"));
        store.write(a, 0, "1234");
        store.write(b, 0, "12");
        store.0.limit(true);
        assert_eq!(store.0.write(a, 4, b"5"), Err(Refusal::NoSpace));
        store.write(a, 0, "4321");
        store.0.unlink((ROOT, OsStr::new("b"))).unwrap();
        store.write(a, 4, "56");
        assert_eq!(store.0.write(a, 6, b"7"), Err(Refusal::NoSpace));
        store.0.limit(false);
        store.write(a, 6, "7");
    }

    #[test]
    fn what_is_unlinked_stays_while_it_is_open_and_is_then_forgotten() {
        let mut store = Store::new(Entries::Journaled);
        let a = store.file("a");
        store.0.open(a).unwrap();
        store.0.unlink((ROOT, OsStr::new("a"))).unwrap();
        store.write(a, 0, "still there");
        store.0.release(a);
        assert_eq!(store.0.write(a, 0, b"no more"), Err(Refusal::NoEntry));
        assert_eq!((store.0.used, store.0.nodes.len()), (0, 1));
    }
}

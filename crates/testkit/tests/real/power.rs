//! A store whose power is cut, below a real server and below plain files.

use std::{fs, io::Write as _};

use sinew_testkit::{
    NatsServer, PowerStore,
    power::{Entries, Missing},
};

use crate::client::Client;

/// The store, or a loud word that this test did not run.
fn store(entries: Entries) -> Option<PowerStore> {
    PowerStore::start(entries).inspect_err(skipped).ok()
}

#[expect(clippy::print_stderr, reason = "a test that does not run must not look like one that did")]
fn skipped(missing: &Missing) {
    eprintln!("SKIPPED 1 test: {missing}");
}

#[test]
fn what_was_synced_survives_and_nothing_else() {
    let Some(store) = store(Entries::Journaled) else { return };
    let path = |name: &str| store.path().join(name);
    let mut file = fs::File::create(path("log")).expect("a file");
    file.write_all(b"synced").expect("a file");
    file.sync_all().expect("a file");
    file.write_all(b" and not").expect("a file");
    fs::create_dir(path("folder")).expect("a file");
    fs::write(path("late"), "never").expect("a file");
    assert_eq!(fs::read_to_string(path("log")).expect("a file"), "synced and not");
    drop(file);
    store.power_cut();
    assert_eq!(fs::read_to_string(path("log")).expect("a file"), "synced");
    assert!(!path("folder").exists());
    assert!(!path("late").exists());
    let names: Vec<_> = fs::read_dir(store.path())
        .expect("a file")
        .map(|it| it.expect("a file").file_name())
        .collect();
    assert_eq!(names, ["log"]);
}

#[test]
fn a_file_opened_for_synchronous_writes_is_durable() {
    use std::os::unix::fs::OpenOptionsExt as _;
    let Some(store) = store(Entries::Journaled) else { return };
    let path = store.path().join("sync");
    let flags = i32::try_from(rustix::fs::OFlags::SYNC.bits()).expect("flags of open are small");
    let mut file = fs::File::options()
        .create(true)
        .write(true)
        .custom_flags(flags)
        .open(&path)
        .expect("a file");
    file.write_all(b"at once").expect("a file");
    drop(file);
    store.power_cut();
    assert_eq!(fs::read_to_string(&path).expect("a file"), "at once");
}

#[test]
fn a_full_store_says_so() {
    let Some(store) = store(Entries::Journaled) else { return };
    let path = store.path().join("file");
    fs::write(&path, "1234").expect("a file");
    store.set_full(true);
    let error = fs::write(store.path().join("other"), "12345").expect_err("there is no room");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    store.set_full(false);
    fs::write(&path, "123456").expect("a file");
}

/// Whether a server still has after a power cut what it had acknowledged.
fn survives(always: bool) -> Option<bool> {
    let store = store(Entries::Journaled)?;
    let server = NatsServer::builder().store_dir(store.path().join("store")).sync_always(always);
    let server = server.start();
    let mut client = Client::connect(server.port()).expect("connecting");
    client.make_stream("SAFE", 1);
    let sequence = client.store("SAFE.a").expect("storing");
    server.kill();
    store.power_cut();
    server.restart();
    let mut client = Client::connect(server.port()).expect("connecting");
    // It may have lost the stream itself, and then there is nothing to count.
    let count = client.count("SAFE");
    drop(server);
    Some(count.is_ok_and(|count| count == sequence))
}

#[test]
fn a_server_keeps_what_it_acknowledged_where_it_syncs_always() {
    if let Some(survives) = survives(true) {
        assert!(survives);
    }
}

#[test]
fn a_server_loses_what_it_acknowledged_where_it_syncs_now_and_then() {
    if let Some(survives) = survives(false) {
        assert!(!survives, "the store lost nothing, so it proves nothing");
    }
}

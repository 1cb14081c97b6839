//! Whose file a view's file is, and what happens to one of another version.

use std::time::Duration;

use sinew_model::{Root, Subjects};
use sinew_testkit::TempDir;
use sinew_views::{OpenError, Store, WaitError, task::FoldError};

use crate::kit::{Step, World, batch, subjects};

const SOON: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(30);

fn set_version(file: &std::path::Path, version: i64) {
    let view = rusqlite::Connection::open(file).unwrap();
    view.pragma_update(None, "user_version", version).unwrap();
}

#[tokio::test]
async fn a_view_of_a_later_version_is_left_alone_and_of_an_earlier_one_is_emptied() {
    let dir = TempDir::new("views");
    let file = dir.join("deeper/tasks.db");
    let world = World::of(&[Step::Lawful(0, 1)]);
    let store = Store::open(&file, subjects()).await.unwrap();
    store.fold_tasks(batch(&world.log, 0, 1)).await.unwrap();
    set_version(&file, 99);
    let told = Store::open(&file, subjects()).await.unwrap_err();
    assert!(matches!(told, OpenError::Later { found: 99, .. }), "{told}");
    // Nor may this version write into it, even if it had it open before.
    let told = store.fold_tasks(batch(&world.log, 1, 2)).await.unwrap_err();
    assert!(matches!(told, FoldError::OtherVersion { found: 99, .. }), "{told}");
    set_version(&file, 0);
    let store = Store::open(&file, subjects()).await.unwrap();
    assert_eq!(store.reached().await.unwrap(), 0);
    assert_eq!(store.counts().await.unwrap(), []);
    store.fold_tasks(batch(&world.log, 0, 1)).await.unwrap();
    assert_eq!(store.reached().await.unwrap(), 1);
}

#[tokio::test]
async fn a_view_belongs_to_one_org() {
    let dir = TempDir::new("views");
    let file = dir.join("tasks.db");
    drop(Store::open(&file, subjects()).await.unwrap());
    for other in [
        Subjects::new(Root::default(), "other".parse().unwrap()),
        Subjects::new("test".parse().unwrap(), "acme".parse().unwrap()),
    ] {
        let told = Store::open(&file, other).await.unwrap_err();
        assert!(matches!(told, OpenError::OtherOrg { .. }), "{told}");
    }
    assert!(Store::open(&file, subjects()).await.is_ok());
}

#[tokio::test]
async fn the_database_of_something_else_is_left_alone() {
    let dir = TempDir::new("views");
    let file = dir.join("tasks.db");
    let foreign = rusqlite::Connection::open(&file).unwrap();
    foreign.execute_batch("CREATE TABLE songs (name TEXT)").unwrap();
    let told = Store::open(&file, subjects()).await.unwrap_err();
    assert!(matches!(told, OpenError::Foreign { .. }), "{told}");
    let mode: String = foreign.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "delete");
    let text = dir.join("text.db");
    std::fs::write(&text, "no database, but long enough that SQLite looks".repeat(100)).unwrap();
    let told = Store::open(&text, subjects()).await.unwrap_err();
    assert!(matches!(told, OpenError::Unusable { .. }), "{told}");
}

#[tokio::test]
async fn many_processes_may_make_the_file_at_once() {
    let dir = TempDir::new("views");
    let file = dir.join("tasks.db");
    let opening = (0..8).map(|_| tokio::spawn(Store::open(file.clone(), subjects())));
    let opening: Vec<_> = opening.collect();
    for opened in opening {
        assert_eq!(opened.await.unwrap().unwrap().reached().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_reader_waits_for_its_own_write_whoever_folds_it() {
    let dir = TempDir::new("views");
    let file = dir.join("tasks.db");
    let reader = Store::open(&file, subjects()).await.unwrap();
    let folder = Store::open(&file, subjects()).await.unwrap();
    let late = reader.wait_until(1, SOON).await.unwrap_err();
    assert!(matches!(late, WaitError::TimedOut { wanted: 1, reached: 0 }), "{late}");
    let world = World::of(&[Step::Lawful(0, 1), Step::Lawful(1, 1)]);
    let waiting = tokio::spawn({
        let reader = reader.clone();
        async move { reader.wait_until(2, LONG).await }
    });
    folder.fold_tasks(batch(&world.log, 0, 1)).await.unwrap();
    assert!(!waiting.is_finished());
    folder.fold_tasks(batch(&world.log, 1, 2)).await.unwrap();
    waiting.await.unwrap().unwrap();
}

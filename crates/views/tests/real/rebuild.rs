//! A view that is rebuilt is the view that was there, whatever the log holds, however it was cut
//! into batches and whoever folded them.

use proptest::prelude::*;
use rusqlite::types::Value as Sql;
use sinew_model::{TaskId, task::Task};
use sinew_testkit::TempDir;
use sinew_views::{
    Store,
    task::{BuildError, FoldError, Why},
};

use crate::kit::{STREAM, Step, World, batch, id, subjects, table, tables};

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let task = 0..5_u8;
    let what = any::<u8>();
    let step = prop_oneof![
        20 => (task.clone(), what).prop_map(|(task, what)| Step::Lawful(task, what)),
        1 => (task.clone(), what).prop_map(|(task, what)| Step::Unguarded(task, what)),
        1 => (task.clone(), what).prop_map(|(task, what)| Step::Misguarded(task, what)),
        1 => task.clone().prop_map(Step::Repeated),
        1 => task.clone().prop_map(Step::Unknown),
        1 => task.clone().prop_map(Step::Garbage),
        1 => task.prop_map(Step::Alien),
        1 => Just(Step::NoTask),
        1 => (1..4_u8).prop_map(Step::Gap),
    ];
    prop::collection::vec(step, 1..150)
}

/// Folds a log in batches that begin again some messages before where the last one ended, by
/// turns into one store and the other.
async fn fold_live(stores: &[Store; 2], world: &World, cuts: &[(u64, u64)]) {
    let (mut after, mut cuts) = (0, cuts.iter().cycle());
    let mut turn = 0;
    while after < world.last_seq() {
        let (length, overlap) = cuts.next().copied().unwrap();
        let through = world.last_seq().min(after + length);
        let part = batch(&world.log, after.saturating_sub(overlap), through);
        let checkpoint = stores[turn % 2].fold_tasks(part).await.unwrap();
        assert_eq!(checkpoint.seq, through);
        (after, turn) = (through, turn + 1);
    }
}

/// Builds the view again in batches of one length.
async fn rebuild(store: &Store, log: &[sinew_views::Message], last: u64, length: u64) {
    let build = store.build_tasks(Why::Asked).await.unwrap();
    let mut after = 0;
    while after < last {
        let through = last.min(after + length);
        build.fold(batch(log, after, through)).await.unwrap();
        after = through;
    }
    build.make_live().await.unwrap();
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn text(value: &Sql) -> Option<&str> {
    if let Sql::Text(text) = value { Some(text) } else { None }
}

fn state(row: &[Sql]) -> Task {
    serde_json::from_str(text(row.last().unwrap()).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn rebuilt_is_live_and_both_are_what_the_model_says(
        steps in steps(),
        cuts in prop::collection::vec((1..40_u64, 0..10_u64), 1..10),
        length in 1..60_u64,
    ) {
        let world = World::of(&steps);
        let dir = TempDir::new("views");
        let file = dir.join("tasks.db");
        block_on(async {
            let stores = [
                Store::open(&file, subjects()).await.unwrap(),
                Store::open(&file, subjects()).await.unwrap(),
            ];
            fold_live(&stores, &world, &cuts).await;
            let live = tables(&file);
            let tasks = table(&file, "tasks");
            prop_assert_eq!(tasks.len(), world.tasks.len());
            for ((task, expect), row) in world.tasks.iter().zip(&tasks) {
                prop_assert_eq!(&row[0], &Sql::Text(task.to_string()));
                prop_assert_eq!(&state(row), expect);
            }
            rebuild(&stores[0], &world.log, world.last_seq(), length).await;
            prop_assert_eq!(live, tables(&file));
            Ok(())
        })?;
    }

    #[test]
    fn a_purge_of_ended_tasks_makes_only_those_absent(steps in steps(), length in 1..60_u64) {
        let world = World::of(&steps);
        let dir = TempDir::new("views");
        let file = dir.join("tasks.db");
        block_on(async {
            let store = Store::open(&file, subjects()).await.unwrap();
            store.fold_tasks(batch(&world.log, 0, world.last_seq())).await.unwrap();
            let gone = |task: &TaskId| world.tasks.get(task).is_some_and(Task::has_ended);
            let kept = |rows: Vec<Vec<Sql>>, column: usize| -> Vec<Vec<Sql>> {
                let of_gone =
                    |row: &[Sql]| text(&row[column]).is_some_and(|task| gone(&task.parse().unwrap()));
                rows.into_iter().filter(|row| !of_gone(row)).collect()
            };
            let columns = [("tasks", 0), ("waits", 0), ("entries", 1), ("voids", 1)];
            let expect = columns.map(|(name, column)| kept(table(&file, name), column));
            let left: Vec<_> = world.log.iter().filter(|message| {
                !world.tasks.keys().any(|task| {
                    let log = world.subjects.log(task);
                    gone(task) && message.subject.starts_with(log.as_str().trim_end_matches('*'))
                })
            }).cloned().collect();
            rebuild(&store, &left, world.last_seq(), length).await;
            prop_assert_eq!(expect, columns.map(|(name, _)| table(&file, name)));
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn readers_see_the_old_view_until_the_new_one_is_whole_and_never_go_back() {
    let dir = TempDir::new("views");
    let file = dir.join("tasks.db");
    let mut world = World::new();
    for task in 0..4 {
        world.must_step(Step::Lawful(task, 1));
    }
    let store = Store::open(&file, subjects()).await.unwrap();
    let other = Store::open(&file, subjects()).await.unwrap();
    store.fold_tasks(batch(&world.log, 0, 4)).await.unwrap();
    let build = store.build_tasks(Why::Asked).await.unwrap();
    build.fold(batch(&world.log, 0, 2)).await.unwrap();
    assert_eq!(other.reached().await.unwrap(), 4);
    let early = build.make_live().await.unwrap_err();
    assert!(matches!(early, BuildError::Behind { live: 4, built: 2 }), "{early}");
    // The live one goes on meanwhile.
    world.must_step(Step::Lawful(0, 0));
    other.fold_tasks(batch(&world.log, 4, 5)).await.unwrap();
    build.fold(batch(&world.log, 2, 5)).await.unwrap();
    let live = tables(&file);
    build.make_live().await.unwrap();
    assert_eq!(tables(&file), live);
    // A process that had the file open goes on with the new tables.
    world.must_step(Step::Lawful(1, 0));
    assert_eq!(other.fold_tasks(batch(&world.log, 5, 6)).await.unwrap().seq, 6);
    assert_eq!(store.reached().await.unwrap(), 6);
}

#[tokio::test]
async fn the_newest_of_two_rebuilds_wins_and_the_other_is_told() {
    let store = Store::open_in_memory(subjects()).await.unwrap();
    let world = World::of(&[Step::Lawful(0, 1)]);
    let first = store.build_tasks(Why::Asked).await.unwrap();
    let second = store.build_tasks(Why::Asked).await.unwrap();
    let told = first.fold(batch(&world.log, 0, 1)).await.unwrap_err();
    assert!(matches!(told, FoldError::Superseded), "{told}");
    second.fold(batch(&world.log, 0, 1)).await.unwrap();
    second.make_live().await.unwrap();
    assert_eq!(store.reached().await.unwrap(), 1);
}

#[tokio::test]
async fn what_does_not_continue_the_view_is_refused() {
    let store = Store::open_in_memory(subjects()).await.unwrap();
    let world = World::of(&[Step::Lawful(0, 1), Step::Lawful(1, 1), Step::Lawful(2, 1)]);
    let gap = store.fold_tasks(batch(&world.log, 1, 2)).await.unwrap_err();
    assert!(matches!(gap, FoldError::Gap { after: 1, reached: 0 }), "{gap}");
    store.fold_tasks(batch(&world.log, 0, 2)).await.unwrap();
    let mut other = batch(&world.log, 2, 3);
    other.stream = format!("{STREAM} again");
    let fault = store.fold_tasks(other).await.unwrap_err();
    assert!(matches!(fault, FoldError::OtherStream), "{fault}");
    // The server lost sequence 2 and gave it to another message.
    let mut lost = batch(&world.log, 1, 3);
    lost.messages[0].stored_at = world.now();
    let fault = store.fold_tasks(lost).await.unwrap_err();
    assert!(matches!(fault, FoldError::OtherStream), "{fault}");
    assert_eq!(store.reached().await.unwrap(), 2);
    assert!(store.show(id(2)).await.unwrap().is_none());
}

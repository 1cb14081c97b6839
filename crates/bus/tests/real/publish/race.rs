//! Many writers of few tasks: the log of each is a strict chain, whichever way the writers take.

use std::{collections::HashMap, sync::Arc};

use serde_json::json;
use sinew_bus::{AppendError, Bus};
use sinew_testkit::NatsServer;
use tokio::{sync::Mutex, task::JoinSet};

use super::{LOG, connect, entry, held, make_log};

/// Appends that each writer must win.
const WINS: usize = 12;

/// What a writer won: task, expectation, sequence.
type Win = (String, u64, u64);

/// Each writer appends at what it believes to be the newest sequence, until it has won enough.
pub(crate) async fn race(buses: &[Bus], writers: usize, tasks: usize) -> Vec<Win> {
    let newest: Arc<Mutex<HashMap<String, u64>>> = Arc::default();
    let mut running = JoinSet::new();
    for (writer, bus) in (0..writers).zip(buses.iter().cycle()) {
        let (bus, newest) = (bus.clone(), Arc::clone(&newest));
        running.spawn(async move {
            let mut won: Vec<Win> = Vec::new();
            for round in 0.. {
                let task = format!("T{}", (writer + round) % tasks);
                let expected = newest.lock().await.get(&task).copied().unwrap_or(0);
                let token = format!("{writer}-{round}");
                match bus.append(&entry(&task), expected, &token).await {
                    Ok(seq) => {
                        newest.lock().await.insert(task.clone(), seq);
                        won.push((task, expected, seq));
                    }
                    Err(AppendError::Conflict { doubtful: false }) => {
                        tokio::task::yield_now().await
                    }
                    Err(other) => panic!("{other:?}"),
                }
                if won.len() == WINS {
                    break;
                }
            }
            won
        });
    }
    running.join_all().await.into_iter().flatten().collect()
}

/// Every win follows the one before it, and the stream holds nothing else.
pub(crate) async fn assert_chains(bus: &Bus, mut wins: Vec<Win>) {
    assert_eq!(held(bus, LOG).await, u64::try_from(wins.len()).unwrap());
    wins.sort_by_key(|(.., seq)| *seq);
    let mut newest: HashMap<String, u64> = HashMap::new();
    for (task, expected, seq) in wins {
        let before = newest.insert(task.clone(), seq).unwrap_or(0);
        assert_eq!(expected, before, "{task} at {seq}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_on_one_bus_make_a_chain() {
    let server = NatsServer::start();
    let bus = connect(&server.url()).await;
    make_log(&bus, json!({})).await;
    let wins = race(std::slice::from_ref(&bus), 64, 48).await;
    assert_chains(&bus, wins).await;
    let stats = bus.publish_stats();
    assert!(stats.batches + stats.batches_refused > 0, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_on_two_buses_make_a_chain() {
    let server = NatsServer::start();
    let (one, two) = (connect(&server.url()).await, connect(&server.url()).await);
    make_log(&one, json!({})).await;
    let wins = race(&[one.clone(), two], 8, 3).await;
    assert_chains(&one, wins).await;
}

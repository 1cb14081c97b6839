//! How many may be open at a time over all runtimes of a role, and the shares of its bands.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use sinew_agent::{Context, Delegation};
use sinew_model::{Band, Transition, stream::AGENT_TASKS};
use sinew_testkit::{NatsServer, wait};

use crate::kit::{Backbone, Gate, PATIENCE, role};

/// Deliveries of the role's normal band that nobody has acked.
async fn open(backbone: &Backbone) -> u64 {
    let call = format!("CONSUMER.INFO.{AGENT_TASKS}.cto-agent-consumer");
    let info: Value = backbone.bus.api(&call, &Value::Null).await.unwrap();
    info["num_ack_pending"].as_u64().unwrap()
}

#[tokio::test]
async fn a_topology_may_bound_the_open_tasks_of_a_role_over_all_its_runtimes() {
    let overlay = "[consumers]\nmax_ack_pending = 5";
    let backbone = Backbone::with(NatsServer::start(), overlay).await;
    let ceo = backbone.client("ceo");
    let gate = Gate::shut();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut runtimes = Vec::new();
    for _ in 0..3 {
        let (gate, now, most) = (gate.clone(), Arc::clone(&now), Arc::clone(&most));
        let handler = move |_: Context| {
            let (gate, now, most) = (gate.clone(), Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                gate.pass().await;
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(json!(null))
            }
        };
        runtimes.push(backbone.run(backbone.settings("cto"), handler).await);
    }
    let mut ids = Vec::new();
    for number in 0..40 {
        let what = Delegation::new(role("cto"), format!("Task {number}"));
        ids.push(ceo.delegate(what).await.unwrap().id);
    }
    wait::until("five to run", PATIENCE, async || match now.load(Ordering::SeqCst) {
        5 => Ok(()),
        other => Err(format!("{other} run")),
    })
    .await;
    wait::holds("no more than five are open", Duration::from_millis(500), async || {
        let (open, now) = (open(&backbone).await, now.load(Ordering::SeqCst));
        if (open, now) == (5, 5) { Ok(()) } else { Err(format!("{open} open, {now} run")) }
    })
    .await;
    gate.open();
    wait::until("the queue to be empty", PATIENCE, async || {
        let open = open(&backbone).await;
        assert!(open <= 5, "{open} are open");
        match backbone.queued().await {
            0 => Ok(()),
            left => Err(format!("{left} left")),
        }
    })
    .await;
    for id in &ids {
        assert_eq!(backbone.words(id).await, ["created", "started", "completed"]);
    }
    assert_eq!(most.load(Ordering::SeqCst), 5);
    let mut ended = 0;
    for runtime in runtimes {
        ended += runtime.stop().await.ended;
    }
    assert_eq!(ended, 40);
}

/// Has one slot work off two floods, the first of which lies there before the second comes, and
/// gives the bands in the order in which their tasks were begun.
async fn begun(floods: [(Band, usize); 2]) -> Vec<Band> {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let (gate, order) = (Gate::shut(), Arc::new(Mutex::new(Vec::new())));
    let (pass, noted) = (gate.clone(), Arc::clone(&order));
    let mut settings = backbone.settings("cto");
    settings.concurrency = 1;
    let handler = move |task: Context| {
        let (gate, noted) = (pass.clone(), Arc::clone(&noted));
        async move {
            noted.lock().unwrap().push(task.assignment().priority);
            gate.pass().await;
            Ok(json!(null))
        }
    };
    // A task that holds the only place until both bands are in use.
    let runtime = backbone.run(settings, handler).await;
    let first = ceo.delegate(Delegation::new(role("cto"), "first")).await.unwrap().id;
    backbone.until_count(&first, Transition::Started, 1).await;
    for (band, count) in floods {
        for _ in 0..count {
            let what = Delegation::new(role("cto"), band.word()).priority(band);
            ceo.delegate(what).await.unwrap();
        }
    }
    wait::until("the consumers of both bands", PATIENCE, async || {
        let (urgent, low) = ("cto-agent-consumer-urgent", "cto-agent-consumer-low");
        for name in [urgent, low] {
            if backbone.bus.open_deliveries(AGENT_TASKS, name).await.unwrap().is_none() {
                return Err(format!("{name} is not there"));
            }
        }
        Ok(())
    })
    .await;
    gate.open();
    backbone.until_queue_is_empty().await;
    runtime.stop().await;
    let order = order.lock().unwrap().clone();
    assert_eq!(order.len(), 1 + floods.iter().map(|(_, count)| count).sum::<usize>());
    order.into_iter().skip(1).collect()
}

fn count(begun: &[Band], band: Band) -> usize {
    begun.iter().filter(|it| **it == band).count()
}

#[tokio::test]
async fn a_flood_of_urgent_tasks_leaves_the_low_ones_their_share() {
    let begun = begun([(Band::Urgent, 64), (Band::Low, 16)]).await;
    // Of 16 turns one is the low band's, so of 48 three are; one more or less by where it begins.
    let low = count(&begun[..48], Band::Low);
    assert!((2..=4).contains(&low), "{low} of the first 48: {begun:?}");
}

#[tokio::test]
async fn a_flood_of_low_tasks_gives_way_to_the_urgent_ones_and_does_not_stop() {
    let begun = begun([(Band::Low, 64), (Band::Urgent, 32)]).await;
    let urgent = count(&begun[..32], Band::Urgent);
    assert!((29..=31).contains(&urgent), "{urgent} of the first 32: {begun:?}");
}

#[tokio::test]
async fn all_bands_that_lie_there_at_the_start_are_found_at_the_first_look() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    for band in [Band::Low, Band::Urgent] {
        ceo.delegate(Delegation::new(role("cto"), band.word()).priority(band)).await.unwrap();
    }
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let noted = Arc::clone(&seen);
    let runtime = backbone
        .run(backbone.settings("cto"), move |task: Context| {
            noted.lock().unwrap().insert(task.assignment().priority);
            async { Ok(json!(null)) }
        })
        .await;
    // Less than the time between two looks.
    wait::until("both to begin", Duration::from_secs(3), async || {
        let seen = seen.lock().unwrap().clone();
        if seen.len() == 2 { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    runtime.stop().await;
}

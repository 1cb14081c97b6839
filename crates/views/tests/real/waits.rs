//! Who waits for whom, and which waits are worth a look.

use serde_json::json;
use sinew_model::{
    TaskId,
    task::{Command, DeadCause, EscalationReason, Question},
};
use sinew_views::{Store, task::News};

use crate::kit::{World, batch, subjects};

/// A log that is folded entry by entry.
struct Play {
    world: World,
    view: Store,
}

fn task(text: &str) -> TaskId {
    text.parse().unwrap()
}

impl Play {
    async fn new() -> Self {
        Self { world: World::new(), view: Store::open_in_memory(subjects()).await.unwrap() }
    }

    /// What is worth a look after this entry, by the entry alone.
    async fn then(&mut self, id: &str, command: Command) -> Vec<String> {
        let after = self.world.last_seq();
        self.world.must(&task(id), &command);
        let through = self.world.last_seq();
        self.view.fold_tasks(batch(&self.world.log, after, through)).await.unwrap();
        let news = News { after, through };
        let moved = self.view.moved_by(news).await.unwrap();
        moved.iter().map(ToString::to_string).collect()
    }

    async fn create(&mut self, id: &str, after: &[&str]) -> Vec<String> {
        let mut assignment = self.world.assignment(&task(id), "cto");
        assignment.after = after.iter().map(|id| task(id)).collect();
        let queue_seq = after.is_empty().then_some(7);
        self.then(id, Command::Create { assignment, queue_seq }).await
    }

    async fn start(&mut self, id: &str) {
        let (instance, incarnation) = ("cto-1".parse().unwrap(), "p1".to_owned());
        let start =
            Command::Start { epoch: 1, queue_seq: 7, instance, incarnation, ack: None, over: None };
        assert!(self.then(id, start).await.is_empty());
    }

    async fn wait(&mut self, id: &str, on: &[&str]) -> Vec<String> {
        self.create(id, &[]).await;
        self.start(id).await;
        let on = on.iter().map(|id| task(id)).collect();
        self.then(id, Command::Wait { attempt: 1, on }).await
    }

    async fn end(&mut self, id: &str) -> Vec<String> {
        self.then(id, Command::Cancel { reason: "enough".to_owned() }).await
    }

    async fn complete(&mut self, id: &str) -> Vec<String> {
        self.start(id).await;
        self.then(id, Command::Complete { attempt: 1, result: json!(1) }).await
    }

    async fn waiters(&self, on: &str) -> Vec<String> {
        let found = self.view.waiters(task(on), None).await.unwrap();
        found.iter().map(ToString::to_string).collect()
    }

    async fn movable(&self) -> Vec<String> {
        let (found, next) = self.view.movable(None).await.unwrap();
        assert_eq!(next, None);
        found.iter().map(ToString::to_string).collect()
    }

    async fn held(&self, id: &str) -> bool {
        self.view.is_held(task(id)).await.unwrap()
    }
}

#[tokio::test]
async fn a_wait_is_worth_a_look_only_once_the_last_task_has_ended() {
    let mut play = Play::new().await;
    for child in ["A", "B"] {
        play.create(child, &[]).await;
    }
    assert!(play.wait("P", &["A", "B", "C"]).await.is_empty());
    assert!(!play.held("P").await, "one of them is not known");
    play.create("C", &[]).await;
    assert!(play.held("P").await);
    assert_eq!(play.waiters("B").await, ["P"]);
    assert!(play.end("A").await.is_empty());
    assert!(play.complete("B").await.is_empty());
    assert!(play.movable().await.is_empty());
    assert_eq!(play.end("C").await, ["P"]);
    assert_eq!(play.movable().await, ["P"]);
    assert!(!play.held("P").await);
    play.then("P", Command::Resume { cycle: Vec::new() }).await;
    assert!(play.movable().await.is_empty() && play.waiters("B").await.is_empty());
    // One whose tasks have all ended before is worth a look at once.
    assert_eq!(play.wait("Q", &["A", "C"]).await, ["Q"]);
}

#[tokio::test]
async fn what_comes_after_others_is_worth_a_look_as_soon_as_one_of_them_is_not_completed() {
    let mut play = Play::new().await;
    for first in ["A", "B", "C"] {
        play.create(first, &[]).await;
    }
    assert!(play.create("S", &["A", "B"]).await.is_empty());
    assert!(play.complete("A").await.is_empty());
    assert_eq!(play.end("B").await, ["S"]);
    let cause = DeadCause::DependencyFailed;
    let bury = Command::Bury { cause, detail: "B".to_owned(), bytes: None };
    assert!(play.then("S", bury).await.is_empty());
    assert!(play.movable().await.is_empty());
    assert_eq!(play.then("S", Command::Revive).await, ["S"], "B has still ended so");
    assert!(play.create("T", &["C"]).await.is_empty());
    assert_eq!(play.complete("C").await, ["T"]);
}

#[tokio::test]
async fn tasks_that_wait_for_each_other_are_worth_a_look() {
    let mut play = Play::new().await;
    assert!(play.wait("A", &["B", "X"]).await.is_empty());
    assert!(play.wait("B", &["C"]).await.is_empty());
    assert!(play.wait("outside", &["A"]).await.is_empty());
    assert_eq!(play.wait("C", &["A"]).await, ["C"]);
    assert_eq!(play.movable().await, ["A", "B", "C"]);
    play.create("X", &[]).await;
    assert!(play.held("outside").await && !play.held("A").await);
}

#[tokio::test]
async fn a_result_waits_for_its_verification_and_a_question_says_who_is_asked() {
    let mut play = Play::new().await;
    let mut assignment = play.world.assignment(&task("T"), "cto");
    assignment.verifier = Some("qa".parse().unwrap());
    play.then("T", Command::Create { assignment, queue_seq: Some(7) }).await;
    play.start("T").await;
    let submit = Command::Complete { attempt: 1, result: json!(1) };
    assert!(play.then("T", submit).await.is_empty());
    let row = play.view.show(task("T")).await.unwrap().unwrap().task;
    assert_eq!((row.phase.as_str(), row.asked.unwrap().as_str()), ("submitted", "qa"));
    assert!(!play.held("T").await, "nobody has delegated the verification yet");
    let verification = play.world.tasks[&task("T")].state.as_ref().unwrap().verification();
    let verification = verification.unwrap();
    assert_eq!(play.waiters(verification.as_str()).await, ["T"]);
    play.create(verification.as_str(), &[]).await;
    assert!(play.held("T").await);
    assert_eq!(play.complete(verification.as_str()).await, ["T"]);
    play.then("T", Command::Escalate { reason: EscalationReason::Unverified }).await;
    assert!(play.movable().await.is_empty());
    let row = play.view.show(task("T")).await.unwrap().unwrap().task;
    assert_eq!(row.asked.unwrap().as_str(), "ceo");

    play.create("Q", &[]).await;
    play.start("Q").await;
    let question = Question {
        key: "k".to_owned(),
        text: "which?".to_owned(),
        to: "artist".parse().unwrap(),
        choices: Vec::new(),
        escalate_at: None,
    };
    play.then("Q", Command::Block { attempt: 1, question: Box::new(question) }).await;
    let show = async |play: &Play| {
        let row = play.view.show(task("Q")).await.unwrap().unwrap().task;
        (row.message.unwrap(), row.asked.unwrap().to_string())
    };
    assert_eq!(show(&play).await, ("which?".to_owned(), "artist".to_owned()));
    play.then("Q", Command::Escalate { reason: EscalationReason::Unanswered }).await;
    assert_eq!(show(&play).await, ("which?".to_owned(), "ceo".to_owned()));
}

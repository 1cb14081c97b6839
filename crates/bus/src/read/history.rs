//! A task's whole log. It is read from any replica, since that is fast, and checked against the
//! leader, since a replica may be behind.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use serde_json::{Value, json};
use sinew_model::{
    Entry, Subjects, TaskId, Time, Transition, header,
    limits::{HISTORY_BATCH, HISTORY_ENTRIES, HISTORY_FETCHES, REQUEST_TIMEOUT},
    signature::Verdict,
    stream::TASK_LOG,
    task::{DecodeError, Stored, Task, Void},
};

use super::message::RawMessage;
use crate::{clock, connect::Bus, request::RequestError};

/// One entry of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// The entry as it was stored.
    pub stored: Stored,
    /// When the server stored it.
    pub time: Time,
    /// How it breaks the law, if it does; then it changed nothing.
    pub void: Option<Void>,
    /// Who sent it, as far as that can be known.
    pub verdict: Verdict,
}

/// What the log says about one task.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// The state that the entries add up to.
    pub task: Task,
    /// The entries, the oldest first.
    pub entries: Vec<Logged>,
    /// Messages on the task's subjects that this version does not understand.
    pub skipped: u32,
}

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The server could not be asked.
    #[error("the log of the task {task} could not be read")]
    Request {
        /// The task.
        task: TaskId,
        /// Why.
        #[source]
        source: RequestError,
    },
    /// There is more than one task may write.
    #[error("the log of the task {task} has more than {HISTORY_ENTRIES} entries")]
    TooLong {
        /// The task.
        task: TaskId,
    },
}

impl Bus {
    /// Reads a task's log and folds it. All that was stored before the call is in it; an id that
    /// nobody used gives an empty one.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub async fn history(&self, task: &TaskId) -> Result<History, HistoryError> {
        let failed = |source| HistoryError::Request { task: task.clone(), source };
        let filter = String::from(self.subjects().log(task));
        let mut history = History::default();
        let Some(last) = self.last(TASK_LOG, &filter).await.map_err(failed)? else {
            return Ok(history);
        };
        if self.is_first(task, &last) {
            history.fold(self, task, &last).await.map_err(failed)?;
            return Ok(history);
        }
        let mut log = Reading { bus: self, stream: TASK_LOG, filter: &filter, from: 1 };
        if let Some(thread) = log.by_guards(&last).await {
            for message in &thread {
                history.fold(self, task, message).await.map_err(failed)?;
            }
            return Ok(history);
        }
        while history.task.last_seq < last.seq {
            // A replica that is behind, or that does not answer, is made up for by the leader.
            let mut messages = log.direct().await;
            if messages.is_empty() {
                messages.extend(log.step().await.map_err(failed)?);
            }
            if messages.is_empty() {
                // It was purged while it was read: what is left is all there is.
                break;
            }
            for message in &messages {
                history.fold(self, task, message).await.map_err(failed)?;
            }
            log.from = history.task.last_seq + 1;
            if history.entries.len() > HISTORY_ENTRIES {
                return Err(HistoryError::TooLong { task: task.clone() });
            }
        }
        Ok(history)
    }

    /// A task's log as whichever replica answers first has it: fast, and perhaps behind. Good for
    /// whoever goes on to append, since the guard of the append finds out what was missing.
    ///
    /// # Errors
    /// See [`HistoryError`].
    pub async fn glimpse(&self, task: &TaskId) -> Result<History, HistoryError> {
        let filter = String::from(self.subjects().log(task));
        let mut history = History::default();
        match self.last_direct(&filter).await {
            Ok(None) => Ok(history),
            Ok(Some(last)) if self.is_first(task, &last) => {
                let folded = history.fold(self, task, &last).await;
                folded.map_err(|source| HistoryError::Request { task: task.clone(), source })?;
                Ok(history)
            }
            // A log that is more than its first entry is read whole, with the leader's help.
            Ok(Some(_)) | Err(_) => self.history(task).await,
        }
    }

    /// The next messages of a guarded log from the sequence `from` on, and whether they are all
    /// that was stored before the call. Where only one is new, which its guard tells, that costs one
    /// request.
    pub(crate) async fn since(
        &self,
        stream: &str,
        filter: &str,
        from: u64,
    ) -> Result<(Vec<RawMessage>, bool), RequestError> {
        let last = self.last(stream, filter).await?.filter(|last| last.seq >= from);
        let Some(last) = last else { return Ok((Vec::new(), true)) };
        // Of a batch the message before may have the same guard, as those of a batch are all checked
        // against what was there before it.
        let is_alone = last.header(header::BATCH_ID).is_none();
        if is_alone && last.guard(filter).is_some_and(|before| before < from) {
            return Ok((vec![last], true));
        }
        let log = Reading { bus: self, stream, filter, from };
        let mut messages = log.direct().await;
        if messages.is_empty() {
            // The replica that answered is behind; the leader is not.
            messages.extend(log.step().await?);
        }
        // Nothing, where it was purged meanwhile: then that is all there is.
        let is_all = messages.last().is_none_or(|newest| newest.seq >= last.seq);
        Ok((messages, is_all))
    }

    async fn last_direct(&self, filter: &str) -> Result<Option<RawMessage>, RequestError> {
        let subject = format!("$JS.API.DIRECT.GET.{TASK_LOG}");
        let which = json!({ "last_by_subj": filter }).to_string();
        let answer = self.ask(&subject, None, which.into(), REQUEST_TIMEOUT).await?;
        match answer.status.map(|status| status.as_u16()) {
            None => RawMessage::from_direct(answer).map(Some).ok_or_else(|| {
                RequestError::Unsendable { subject, why: "the answer is no direct get".to_owned() }
            }),
            Some(404) => Ok(None),
            Some(code) => Err(RequestError::Unsendable { subject, why: format!("status {code}") }),
        }
    }

    /// Whether the newest message of a log is also its first: then there is nothing else to read.
    fn is_first(&self, task: &TaskId, last: &RawMessage) -> bool {
        last.subject == self.subjects().entry(task, Transition::Created).as_str()
            && last.header(header::EXPECTED_SEQ) == Some("0")
            && last.header(header::EXPECTED_SUBJECT) == Some(self.subjects().log(task).as_str())
    }
}

impl History {
    async fn fold(
        &mut self,
        bus: &Bus,
        task: &TaskId,
        message: &RawMessage,
    ) -> Result<(), RequestError> {
        match message.stored(bus.subjects()) {
            Ok(stored) => {
                let (received, by) = (message.received(), &stored.entry.by.role);
                let verdict = bus.verify(&received, Some(by)).await?;
                let void = if bus.takes(&verdict) {
                    self.task.apply(task, &stored).err()
                } else {
                    let where_it_lay = (TASK_LOG, &received);
                    bus.keep_evidence(where_it_lay, by, (&verdict, Some(by))).await;
                    Some(self.task.refuse(message.seq))
                };
                self.entries.push(Logged { stored, time: message.time, void, verdict });
            }
            Err(fault) => {
                tracing::debug!(seq = message.seq, %fault, "an entry is passed over");
                self.task.skip(message.seq);
                self.skipped = self.skipped.saturating_add(1);
            }
        }
        Ok(())
    }
}

impl RawMessage {
    /// Reads it as an entry of a task's log. An expectation counts only where it is over the
    /// whole task, byte for byte.
    ///
    /// # Errors
    /// Why it is none, see [`DecodeError`].
    pub fn stored(&self, subjects: &Subjects) -> Result<Stored, DecodeError> {
        let entry = Entry::decode(subjects, &self.subject, &self.payload)?;
        let guard = subjects.log(&entry.task_id);
        Ok(Stored {
            seq: self.seq,
            expected: self.guard(guard.as_str()),
            token: self.header(header::MSG_ID).map(str::to_owned),
            time: Some(self.time),
            entry,
        })
    }
}

impl RawMessage {
    /// The sequence that it was guarded with, where its guard was over exactly this filter.
    pub(crate) fn guard(&self, filter: &str) -> Option<u64> {
        let guarded = self.header(header::EXPECTED_SUBJECT) == Some(filter);
        self.header(header::EXPECTED_SEQ).filter(|_| guarded)?.parse().ok()
    }
}

/// The reading of one log.
struct Reading<'a> {
    bus: &'a Bus,
    stream: &'a str,
    filter: &'a str,
    /// The next sequence to look at.
    from: u64,
}

impl Reading<'_> {
    /// The whole log by the thread of its guards: each entry names the one before it, and the
    /// server has checked that. A search from the beginning looks at every message of every task
    /// on its way, so this is what keeps a read cheap in a long stream. `None` where an entry has
    /// no guard, or too many are repeated: the search has to do then.
    async fn by_guards(&mut self, last: &RawMessage) -> Option<Vec<RawMessage>> {
        let newest = json!({ "multi_last": [self.filter], "batch": HISTORY_BATCH });
        let newest = self.ask_direct(&newest).await.ok()?;
        let mut known: BTreeMap<u64, RawMessage> =
            newest.into_iter().map(|message| (message.seq, message)).collect();
        known.entry(last.seq).or_insert_with(|| last.clone());
        if let Some(first) = known.values().next().filter(|it| it.guard(self.filter) == Some(0)) {
            // Nothing of the task is older, so a search may begin here too.
            self.from = first.seq;
        }
        let (_, mut message) = known.pop_last()?;
        let mut thread = Vec::new();
        let mut fetched = 0;
        loop {
            let before = message.guard(self.filter)?;
            thread.push(message);
            if before == 0 {
                thread.reverse();
                return Some(thread);
            }
            message = match known.remove(&before) {
                Some(message) => message,
                None if fetched < HISTORY_FETCHES => {
                    fetched += 1;
                    self.bus.at(self.stream, before).await.ok()??
                }
                None => return None,
            };
        }
    }

    /// The next messages from whichever replica answers first. Fewer than there are, or none, is
    /// no failure: the caller compares with the leader.
    async fn direct(&self) -> Vec<RawMessage> {
        let which =
            json!({ "seq": self.from, "next_by_subj": self.filter, "batch": HISTORY_BATCH });
        match self.ask_direct(&which).await {
            Ok(messages) => messages,
            Err(why) => {
                tracing::debug!(why, "a direct get failed; the leader is asked");
                Vec::new()
            }
        }
    }

    async fn ask_direct(&self, which: &Value) -> Result<Vec<RawMessage>, String> {
        let nats = self.bus.nats();
        let reply = nats.new_inbox();
        let mut answers = nats.subscribe(reply.clone()).await.map_err(|error| error.to_string())?;
        nats.publish_with_reply(
            format!("$JS.API.DIRECT.GET.{}", self.stream),
            reply,
            which.to_string().into(),
        )
        .await
        .map_err(|error| error.to_string())?;
        let end = clock::instant() + REQUEST_TIMEOUT;
        let mut messages = Vec::new();
        loop {
            let answer = match tokio::time::timeout_at(end, answers.next()).await {
                Ok(Some(answer)) => answer,
                // What has come is in order and without a gap, so it is good.
                Ok(None) | Err(_) => return Ok(messages),
            };
            match answer.status.map(|status| status.as_u16()) {
                None => messages.push(RawMessage::from_direct(answer).ok_or("no direct get")?),
                Some(204 | 404) => return Ok(messages),
                Some(code) => return Err(format!("status {code}")),
            }
        }
    }

    /// The next message from the leader.
    async fn step(&self) -> Result<Option<RawMessage>, RequestError> {
        self.bus.first_from(self.stream, self.filter, self.from).await
    }
}

//! Keeps a view up with its stream: once, for ever, or anew from the beginning.
//!
//! A view is of one stream. Where the stream was deleted and made again, or a server lost its
//! newest writes, the view holds what no stream says any more: it is rebuilt, without being asked.

use std::time::Duration;

use sinew_bus::{Bus, RequestError, Scan, ScanError, clock};
use sinew_model::limits::{
    VIEW_BATCH_BYTES, VIEW_BATCH_ENTRIES, VIEW_LINGER, VIEW_LOOK_EVERY, VIEW_REBUILD_ROUNDS,
    VIEW_RETRY, VIEW_SOURCE_EVERY,
};
use tokio_util::sync::CancellationToken;

use super::{
    build::{Build, BuildError, Why},
    fold::FoldError,
    source::{self, Source},
};
use crate::{
    message::{Batch, Message},
    store::{Checkpoint, Layout, QueryError, Store},
};

/// The projection of one org's stream. Any number of them, in any number of processes, may work on
/// one file.
#[derive(Clone, Debug)]
pub struct Projection {
    store: Store,
}

/// Why a view is not up with its stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The stream could not be looked at.
    #[error("the stream of the view could not be looked at")]
    Look(#[from] RequestError),
    /// The stream could not be read.
    #[error("the stream of the view could not be read")]
    Read(#[from] ScanError),
    /// The view could not be written.
    #[error("the stream could not be folded into the view")]
    Fold(#[from] FoldError),
    /// The view could not be read.
    #[error("the view's checkpoint could not be read")]
    Query(#[from] QueryError),
    /// There is no stream to rebuild from.
    #[error("there is no stream yet that the view could be of")]
    NoStream,
    /// The stream or the view changed under the reader each time it began anew.
    #[error("the stream and its view kept changing")]
    Unsettled,
}

impl FollowError {
    /// Whether a follower gets over it by beginning again.
    fn is_passing(&self) -> bool {
        match self {
            Self::Look(_) | Self::Read(_) | Self::NoStream | Self::Unsettled => true,
            Self::Fold(fault) => match fault {
                FoldError::OtherStream | FoldError::Gap { .. } | FoldError::Superseded => true,
                FoldError::Unusable(_) => fault.is_busy(),
                FoldError::State { .. }
                | FoldError::OtherVersion { .. }
                | FoldError::Stopped(_) => false,
            },
            Self::Query(fault) => fault.is_busy(),
        }
    }
}

/// Where batches go.
#[derive(Clone, Copy)]
enum Sink<'a> {
    Live(&'a Store),
    Build(&'a Build),
}

impl Sink<'_> {
    fn layout(self) -> &'static Layout {
        match self {
            Self::Live(store) => store.layout(),
            Self::Build(build) => build.layout(),
        }
    }

    async fn fold(self, batch: Batch) -> Result<Checkpoint, FoldError> {
        match self {
            Self::Live(store) => store.fold_tasks(batch).await,
            Self::Build(build) => build.fold(batch).await,
        }
    }
}

impl Projection {
    /// A projection into `store`.
    #[must_use]
    pub const fn new(store: Store) -> Self {
        Self { store }
    }

    /// The view.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    fn layout(&self) -> &'static Layout {
        self.store.layout()
    }

    /// Folds everything that the stream holds at the time of the call, and gives the sequence up
    /// to which the view is complete. Without a stream there is nothing to fold: streams are made
    /// at first use.
    ///
    /// # Errors
    /// See [`FollowError`].
    pub async fn catch_up(&self, bus: &Bus) -> Result<u64, FollowError> {
        let mut rebuild = false;
        for _ in 0..VIEW_REBUILD_ROUNDS {
            // First the view, then the stream: the other way round, a view that another process
            // has just moved on would seem to be ahead of the stream.
            let checkpoint = self.store.checkpoint().await?;
            let Some(source) = source::look(bus, self.layout()).await? else {
                return Ok(checkpoint.seq);
            };
            let done = if rebuild || source.is_other(&checkpoint) {
                tracing::warn!("the stream is another than the view's; rebuilding the view");
                self.build(bus, Why::OtherStream).await
            } else {
                read_to(bus, Sink::Live(&self.store), checkpoint.seq, &source).await
            };
            rebuild = false;
            match done {
                Err(FollowError::Fold(FoldError::OtherStream)) => rebuild = true,
                Err(FollowError::Fold(FoldError::Superseded)) => self.let_build_end().await?,
                Err(FollowError::Fold(FoldError::Gap { .. })) => {}
                done => return done,
            }
        }
        Err(FollowError::Unsettled)
    }

    /// Builds the view again from the beginning of the stream, beside the live one, and then makes
    /// it the live one. See [`crate::task`] for what it holds afterwards.
    ///
    /// # Errors
    /// See [`FollowError`].
    pub async fn rebuild(&self, bus: &Bus) -> Result<u64, FollowError> {
        let checkpoint = self.store.checkpoint().await?;
        let source = source::look(bus, self.layout()).await?.ok_or(FollowError::NoStream)?;
        let other = source.is_other(&checkpoint);
        self.build(bus, if other { Why::OtherStream } else { Why::Asked }).await
    }

    /// Keeps the view up with the stream until `shutdown`, through reconnects and restarts of the
    /// server.
    ///
    /// # Errors
    /// What beginning again does not help against, see [`FollowError`].
    pub async fn follow(&self, bus: &Bus, shutdown: CancellationToken) -> Result<(), FollowError> {
        let (shortest, longest) = VIEW_RETRY;
        let mut pause = shortest;
        loop {
            let fault = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                fault = self.follow_once(bus, &mut pause) => fault,
            };
            if !fault.is_passing() {
                return Err(fault);
            }
            if matches!(fault, FollowError::NoStream) {
                tracing::debug!("waiting for the stream of the view");
            } else {
                let error: &dyn std::error::Error = &fault;
                tracing::warn!(error, "following the stream of the view begins again");
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = clock::pause(pause) => pause = longest.min(pause.saturating_mul(2)),
            }
        }
    }

    /// Follows until something goes wrong.
    async fn follow_once(&self, bus: &Bus, pause: &mut Duration) -> FollowError {
        match self.follow_live(bus, pause).await {
            Ok(never) => match never {},
            Err(fault) => fault,
        }
    }

    async fn follow_live(
        &self,
        bus: &Bus,
        pause: &mut Duration,
    ) -> Result<std::convert::Infallible, FollowError> {
        self.catch_up(bus).await?;
        let mut checkpoint = self.store.checkpoint().await?;
        let Some(source) = source::look(bus, self.layout()).await? else {
            return Err(FollowError::NoStream);
        };
        let mut reader = source::read(bus, self.layout(), checkpoint.seq).await?;
        *pause = VIEW_RETRY.0;
        let mut looked = clock::instant();
        loop {
            let messages = gather(bus, self.layout(), &mut reader).await?;
            if looked.elapsed() >= VIEW_SOURCE_EVERY {
                checkpoint = self.store.checkpoint().await?;
                let now = source::look(bus, self.layout()).await?.ok_or(FollowError::NoStream)?;
                if now.is_other(&checkpoint) {
                    return Err(FoldError::OtherStream.into());
                }
                looked = clock::instant();
            }
            let Some(through) = messages.last().map(|message| message.seq) else { continue };
            let (stream, after) = (source.created.clone(), checkpoint.seq);
            checkpoint = self.store.fold_tasks(Batch { stream, after, through, messages }).await?;
        }
    }

    async fn build(&self, bus: &Bus, why: Why) -> Result<u64, FollowError> {
        let build = self.store.build_tasks(why).await?;
        let mut after = 0;
        for _ in 0..VIEW_REBUILD_ROUNDS {
            let source = source::look(bus, self.layout()).await?.ok_or(FollowError::NoStream)?;
            after = read_to(bus, Sink::Build(&build), after, &source).await?;
            match build.make_live().await {
                Ok(checkpoint) => return Ok(checkpoint.seq),
                Err(BuildError::Behind { .. }) => {}
                Err(BuildError::Fold(fault)) => return Err(fault.into()),
            }
        }
        Err(FollowError::Unsettled)
    }

    /// Waits while another process rebuilds, as long as it gets on.
    async fn let_build_end(&self) -> Result<(), FollowError> {
        let mut seen = self.store.building().await?;
        let mut since = clock::instant();
        while seen.is_some() && since.elapsed() < VIEW_SOURCE_EVERY {
            clock::pause(VIEW_LOOK_EVERY).await;
            let now = self.store.building().await?;
            if now != seen {
                seen = now;
                since = clock::instant();
            }
        }
        Ok(())
    }
}

/// Folds everything from `after` to what is the stream's end when this begins.
async fn read_to(
    bus: &Bus,
    sink: Sink<'_>,
    after: u64,
    source: &Source,
) -> Result<u64, FollowError> {
    let layout = sink.layout();
    // The message at `after` itself is read again, so that the fold can see whether it is still
    // the one that it was.
    let mut reader = source::read(bus, layout, after).await?;
    read_with(bus, &mut reader, sink, after, source).await
}

/// The same, with a reader that stands there already.
async fn read_with(
    bus: &Bus,
    reader: &mut Scan,
    sink: Sink<'_>,
    mut after: u64,
    source: &Source,
) -> Result<u64, FollowError> {
    let layout = sink.layout();
    loop {
        let (mut messages, mut bytes, mut end) = (Vec::new(), 0_usize, false);
        while !end && messages.len() < VIEW_BATCH_ENTRIES && bytes < VIEW_BATCH_BYTES {
            let Some(raw) = reader.next_through(source.last_seq).await? else {
                end = true;
                break;
            };
            end = raw.seq >= source.last_seq;
            bytes = bytes.saturating_add(raw.payload.len());
            messages.push(source::message(bus, layout, raw).await?);
        }
        let newest = messages.last().map_or(after, |message: &Message| message.seq);
        let through = if end { newest.max(source.last_seq) } else { newest };
        let stream = source.created.clone();
        let checkpoint = sink.fold(Batch { stream, after, through, messages }).await?;
        if end {
            return Ok(checkpoint.seq);
        }
        after = through;
    }
}

/// What comes next: a batch that is full, or all that is there; nothing after a long silence.
async fn gather(
    bus: &Bus,
    layout: &Layout,
    reader: &mut Scan,
) -> Result<Vec<Message>, FollowError> {
    let Ok(first) = tokio::time::timeout(VIEW_SOURCE_EVERY, reader.next()).await else {
        return Ok(Vec::new());
    };
    let first = first?;
    let mut bytes = first.payload.len();
    let mut messages = vec![source::message(bus, layout, first).await?];
    while reader.pending() > 0 && messages.len() < VIEW_BATCH_ENTRIES && bytes < VIEW_BATCH_BYTES {
        // What is pending is on its way; if the way is broken, what is here must not wait for it.
        let Ok(next) = tokio::time::timeout(VIEW_LINGER, reader.next()).await else { break };
        let raw = next?;
        bytes = bytes.saturating_add(raw.payload.len());
        messages.push(source::message(bus, layout, raw).await?);
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use sinew_model::{OrgId, Root, Subjects};
    use sinew_testkit::NatsServer;

    use super::*;

    /// A server that has not caught up says that nothing is pending. A reader that was begun
    /// before the entries were stored has heard the same.
    #[tokio::test]
    async fn a_reader_that_knows_of_no_more_folds_what_the_leader_has() {
        let server = NatsServer::start();
        let org: OrgId = "acme".parse().unwrap();
        let bus = Bus::connect(sinew_bus::Config::new(server.url(), org.clone())).await.unwrap();
        let topology = sinew_bus::Topology::standard(&bus);
        topology.ensure_stream(&bus, "TASK_LOG").await.unwrap();

        let subjects = Subjects::new(Root::default(), org);
        let store = Store::open_in_memory(subjects).await.unwrap();
        let sink = Sink::Live(&store);
        let layout = sink.layout();
        let mut reader = source::read(&bus, layout, 0).await.unwrap();
        assert_eq!(reader.pending(), 0);

        for number in 0..3 {
            let subject = format!("genbrain.org.acme.tasks.t{number}.created");
            bus.call(&subject, "{}").await.unwrap();
        }
        let source = source::look(&bus, layout).await.unwrap().unwrap();
        assert_eq!(read_with(&bus, &mut reader, sink, 0, &source).await.unwrap(), 3);
        assert_eq!(store.voids(None, 0).await.unwrap().len(), 3);
    }
}

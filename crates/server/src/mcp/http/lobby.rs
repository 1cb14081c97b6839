//! Who is there: which session belongs to which token, and which of them live.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use axum::http::request::Parts;
use rmcp::{ErrorData, model::Extensions};
use sinew_bus::clock;
use sinew_model::{
    OrgId,
    limits::{MCP_CLOSE, MCP_SESSIONS, MCP_SILENCE},
};

use super::crowded;
use crate::mcp::{
    hub::{Hub, Origin, Speaker},
    token::Grant,
};

/// The header that names a session.
pub(super) const SESSION: &str = "mcp-session-id";

/// All sessions of a server, and its clients without one.
#[derive(Debug)]
pub(crate) struct Lobby {
    origin: Origin,
    rooms: Mutex<Rooms>,
}

#[derive(Debug, Default)]
struct Rooms {
    /// Sessions by their id.
    sessions: HashMap<String, Room>,
    /// Clients without a session, by the id of their token.
    stateless: HashMap<String, Arc<Hub>>,
    /// Every hub that may still be there.
    hubs: Vec<Weak<Hub>>,
}

/// A session as the transport sees it.
#[derive(Debug)]
struct Room {
    /// The id of the token that began it.
    owner: String,
    /// Known since its first request.
    hub: Weak<Hub>,
    /// Streams that are open.
    open: usize,
    /// Whether it ever kept a stream open: then a missing one says that the host is gone.
    kept_stream: bool,
    /// Counts the streams that were opened, so that a grace can tell whether one came meanwhile.
    opened: u64,
}

impl Lobby {
    pub(super) fn new(origin: Origin) -> Arc<Self> {
        Arc::new(Self { origin, rooms: Mutex::default() })
    }

    pub(super) fn org(&self) -> &OrgId {
        self.origin.bus.subjects().org()
    }

    /// Whether a token may speak in a session. Of one that is not known here, the transport says
    /// so.
    pub(super) fn may_enter(&self, id: &str, grant: &Grant) -> bool {
        self.locked().sessions.get(id).is_none_or(|room| room.owner == grant.id)
    }

    /// A session has begun.
    pub(super) fn begun(&self, id: &str, grant: &Grant) {
        let hub = Weak::new();
        let owner = grant.id.clone();
        let room = Room { owner, hub, open: 0, kept_stream: false, opened: 0 };
        self.locked().sessions.entry(id.to_owned()).or_insert(room);
    }

    /// The hub of a session that begins.
    pub(in crate::mcp) fn session(&self, extensions: &Extensions) -> Result<Arc<Hub>, ErrorData> {
        let grant = grant(extensions)?;
        // Two sessions of one token are two instances.
        self.add(Speaker { role: grant.role.clone(), instance: None })
    }

    /// The hub of a client that has no session: one for each token.
    pub(in crate::mcp) fn stateless(&self, extensions: &Extensions) -> Result<Arc<Hub>, ErrorData> {
        let grant = grant(extensions)?;
        if let Some(hub) = self.locked().stateless.get(&grant.id) {
            return Ok(Arc::clone(hub));
        }
        let speaker = Speaker { role: grant.role.clone(), instance: grant.instance.clone() };
        let hub = self.add(speaker)?;
        let mut rooms = self.locked();
        Ok(Arc::clone(rooms.stateless.entry(grant.id.clone()).or_insert(hub)))
    }

    fn add(&self, speaker: Speaker) -> Result<Arc<Hub>, ErrorData> {
        let mut rooms = self.locked();
        rooms.hubs.retain(|hub| hub.strong_count() > 0);
        if rooms.hubs.len() >= MCP_SESSIONS {
            return Err(ErrorData::internal_error(crowded(), None));
        }
        let hub = Hub::new(self.origin.clone(), speaker);
        rooms.hubs.push(Arc::downgrade(&hub));
        Ok(hub)
    }

    /// A session has made a request.
    pub(in crate::mcp) fn met(&self, extensions: &Extensions, own: &Arc<Hub>) {
        let parts = extensions.get::<Parts>();
        let id = parts.and_then(|parts| parts.headers.get(SESSION)?.to_str().ok());
        if let Some(id) = id
            && let Some(room) = self.locked().sessions.get_mut(id)
        {
            room.hub = Arc::downgrade(own);
        }
    }

    /// A stream of a session has been opened.
    pub(super) fn opened(&self, id: &str, stands: bool) {
        if let Some(room) = self.locked().sessions.get_mut(id) {
            room.open = room.open.saturating_add(1);
            room.opened = room.opened.saturating_add(1);
            room.kept_stream |= stands;
        }
    }

    /// A stream of a session has ended. Where the session lived by it, and no other is open, gives
    /// what [`Lobby::is_gone`] is to be asked after the grace.
    pub(super) fn shut(&self, id: &str) -> Option<u64> {
        let mut rooms = self.locked();
        let room = rooms.sessions.get_mut(id)?;
        room.open = room.open.saturating_sub(1);
        (room.open == 0 && room.kept_stream).then_some(room.opened)
    }

    /// Whether no stream was opened since.
    pub(super) fn is_gone(&self, id: &str, opened: u64) -> bool {
        self.locked().sessions.get(id).is_some_and(|room| room.open == 0 && room.opened == opened)
    }

    /// A session has ended: what it holds goes back now.
    pub(super) fn ended(&self, id: &str) {
        let room = self.locked().sessions.remove(id);
        if let Some(hub) = room.and_then(|room| room.hub.upgrade()) {
            hub.leave();
        }
    }

    /// Lets go of clients without a session that are silent for too long, or whose token is not
    /// among `valid` any more. Gives the sessions of which the same is true.
    pub(super) fn silent(&self, valid: &[Grant]) -> Vec<String> {
        let is_valid = |owner: &str| valid.iter().any(|grant| grant.id == owner);
        let is_silent = |hub: &Hub| {
            let since = hub.silent_since();
            since.is_some_and(|since| {
                clock::instant().saturating_duration_since(since) > MCP_SILENCE
            })
        };
        let mut rooms = self.locked();
        rooms.stateless.retain(|owner, hub| {
            let stays = is_valid(owner) && !is_silent(hub);
            if !stays {
                hub.leave();
            }
            stays
        });
        let ends = |room: &Room| {
            let silent = room.hub.upgrade().is_some_and(|hub| is_silent(&hub));
            !is_valid(&room.owner) || (room.open == 0 && silent)
        };
        let sessions = rooms.sessions.iter();
        sessions.filter(|(_, room)| ends(room)).map(|(id, _)| id.clone()).collect()
    }

    /// The server ends: what is held goes back now.
    pub(super) fn leave(&self) {
        for hub in self.locked().hubs.iter().filter_map(Weak::upgrade) {
            hub.leave();
        }
    }

    /// Waits until all have said goodbye.
    pub(super) async fn close(&self) {
        self.leave();
        self.locked().stateless.clear();
        self.origin.closing.close();
        if tokio::time::timeout(MCP_CLOSE, self.origin.closing.wait()).await.is_err() {
            tracing::warn!("not all sessions could say goodbye");
        }
    }

    fn locked(&self) -> MutexGuard<'_, Rooms> {
        // The maps are whole after every single step, so a panic elsewhere does no harm to them.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the request was let in as.
fn grant(extensions: &Extensions) -> Result<&Grant, ErrorData> {
    let grant = extensions.get::<Parts>().and_then(|parts| parts.extensions.get::<Grant>());
    grant.ok_or_else(|| ErrorData::internal_error("the request was let in without a token", None))
}

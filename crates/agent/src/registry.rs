//! The registry: what each role can do, who is there, and how they stand. Cards are stored, so a
//! role is known while nobody of it is awake; presence is what instances say once a second.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use serde_json::Value;
use sinew_bus::{
    Bus, EnsureError, Outgoing, PublishError, RawMessage, RequestError, ScanError, Topology, clock,
    read::DepthError,
};
use sinew_model::{
    Address, InstanceId, Role, TaskId, Time,
    card::{Card, CardError, Description},
    limits::{CARD_FRESH, CARD_ROUNDS},
    presence::{
        Heartbeat,
        standing::{self, Standing},
    },
    stream::{AGENT_CARDS, AGENT_PRESENCE, AGENT_TASKS},
};
use tokio::time::Instant;

use crate::{
    admit::admit,
    client::{Client, DelegateError},
};

/// The server's number for a stream that it has not.
const NO_STREAM: u32 = 10_059;

/// Why the registry could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The card breaks a rule; nothing was changed.
    #[error("the card is not acceptable")]
    Card(#[from] CardError),
    /// What the role accepts is no JSON Schema; nothing was changed.
    #[error("what {role} accepts is no JSON Schema: {detail}")]
    Schema {
        /// The role.
        role: Role,
        /// Where it breaks.
        detail: String,
    },
    /// There is no stream for it, and none can be made.
    #[error("the stream of the cards is not there")]
    Stream(#[from] EnsureError),
    /// The server could not be asked.
    #[error("the registry could not be asked")]
    Request(#[from] RequestError),
    /// The cards or the signs of life could not be read.
    #[error("the registry could not be read")]
    Scan(#[from] ScanError),
    /// The queues could not be looked at.
    #[error("the queues could not be looked at")]
    Queues(#[from] DepthError),
    /// It was not stored.
    #[error("the card was not stored")]
    Publish(#[from] PublishError),
    /// Others wrote at the same time, again and again.
    #[error("others described {role} at the same time, {CARD_ROUNDS} times")]
    Crowded {
        /// The role.
        role: Role,
    },
}

/// An instance, as its newest sign of life has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its role.
    pub role: Role,
    /// Its name.
    pub instance: InstanceId,
    /// How it stands.
    pub state: Standing,
    /// The tasks that it works on.
    pub holds: Vec<TaskId>,
    /// How many it may work on at a time.
    pub concurrency: usize,
    /// When it was heard, by the server's clock.
    pub heard_at: Time,
}

/// A role with all that is known of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Known {
    /// The role.
    pub role: Role,
    /// How it stands.
    pub state: Standing,
    /// What it can do, where anybody said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<Card>,
    /// Tasks that wait on its queue or are with one of its instances.
    pub queued: u64,
    /// Places for tasks that its instances have, and how many of them are taken.
    pub places: Places,
    /// Its instances.
    pub instances: Vec<Member>,
}

/// The load of a role: places of the instances that show signs of life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Places {
    /// How many there are.
    pub total: usize,
    /// How many are taken.
    pub taken: usize,
}

/// Which roles are looked for. What is not set does not matter.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// This role.
    pub role: Option<Role>,
    /// Roles with this skill.
    pub skill: Option<String>,
    /// Roles of which the role or an instance stands so.
    pub state: Option<Standing>,
}

impl Query {
    /// Whether a role is looked for.
    #[must_use]
    pub fn fits(&self, known: &Known) -> bool {
        let has = |skill: &String| known.card.as_ref().is_some_and(|card| card.has_skill(skill));
        let stands = |state: &Standing| {
            known.state == *state || known.instances.iter().any(|it| it.state == *state)
        };
        self.role.as_ref().is_none_or(|role| *role == known.role)
            && self.skill.as_ref().is_none_or(has)
            && self.state.as_ref().is_none_or(stands)
    }
}

/// Until when a role is taken to accept only what the validator lets pass; all where there is none.
type Looked = BTreeMap<Role, (Instant, Option<Arc<jsonschema::Validator>>)>;

/// The cards that a client has looked at lately, with what checks an input.
#[derive(Debug, Default)]
pub(crate) struct Cards {
    /// Held for no longer than a look takes.
    known: Mutex<Looked>,
}

impl Client {
    /// The card of a role; `None` where nobody ever wrote one, or it was withdrawn.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn card(&self, role: &Role) -> Result<Option<Card>, RegistryError> {
        Ok(newest(self.bus(), role).await?.1.filter(|card| !card.withdrawn))
    }

    /// Says what a role can do. What is not said stays as it was. The card outlives whoever writes
    /// it, and the newest counts.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn describe(&self, role: &Role, what: &Description) -> Result<Card, RegistryError> {
        describe(self.bus(), (role, self.role()), |card| card.described(what)).await
    }

    /// Takes a role out of the registry until it is described or started again. Says whether it
    /// was in.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn withdraw(&self, role: &Role) -> Result<bool, RegistryError> {
        if self.card(role).await?.is_none() {
            return Ok(false);
        }
        let gone = |card: &Card| Card { withdrawn: true, ..card.clone() };
        describe(self.bus(), (role, self.role()), gone).await?;
        Ok(true)
    }

    /// The roles that are known: those with a card, with an instance in sight, or with work that
    /// waits.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn roles(&self) -> Result<BTreeSet<Role>, RegistryError> {
        Ok(self.agents(&Query::default()).await?.into_iter().map(|known| known.role).collect())
    }

    /// The roles that fit, with their cards, their instances and their load, in the order of their
    /// names. An instance that is gone is not listed, unless it is asked for that.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn agents(&self, query: &Query) -> Result<Vec<Known>, RegistryError> {
        let mut found: BTreeMap<Role, (Option<Card>, u64, Vec<Member>)> = BTreeMap::new();
        for card in cards(self.bus()).await? {
            let role = card.role.clone();
            found.entry(role).or_default().0 = Some(card);
        }
        for (role, queued) in queues(self.bus()).await? {
            found.entry(role).or_default().1 = queued;
        }
        for member in members(self.bus()).await? {
            if member.state != Standing::Gone || query.state == Some(Standing::Gone) {
                found.entry(member.role.clone()).or_default().2.push(member);
            }
        }
        let all = found.into_iter().map(|(role, (card, queued, mut instances))| {
            instances.sort_by(|a, b| a.instance.cmp(&b.instance));
            let state = standing::of_role(instances.iter().map(|it| it.state));
            let places = Places::of(&instances);
            Known { role, state, card, queued, places, instances }
        });
        Ok(all.filter(|known| query.fits(known)).collect())
    }

    /// Refuses an input that the card of a role does not accept. Where the card can't be read, the
    /// input passes: the registry must not stop the work.
    pub(crate) async fn check_input(
        &self,
        role: &Role,
        input: &Value,
    ) -> Result<(), DelegateError> {
        let Some(validator) = self.validator(role).await else { return Ok(()) };
        match validator.iter_errors(input).next() {
            None => Ok(()),
            Some(fault) => Err(DelegateError::NotAccepted {
                role: role.clone(),
                path: fault.instance_path().to_string(),
                why: sinew_model::limits::head(&fault.to_string(), 500).to_owned(),
            }),
        }
    }

    async fn validator(&self, role: &Role) -> Option<Arc<jsonschema::Validator>> {
        let now = clock::instant();
        if let Some((until, known)) = self.cards.locked().get(role)
            && *until > now
        {
            return known.clone();
        }
        let found = match self.card(role).await {
            Ok(card) => card.and_then(|card| card.accepts),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%role, error, "what the role accepts can't be read; all passes");
                return None;
            }
        };
        let built = found.and_then(|schema| {
            let built = schema_of(&schema);
            built.inspect_err(|why| tracing::warn!(%role, why, "a card has no schema")).ok()
        });
        let built = built.map(Arc::new);
        self.cards.locked().insert(role.clone(), (now + CARD_FRESH, built.clone()));
        built
    }
}

impl Cards {
    fn locked(&self) -> std::sync::MutexGuard<'_, Looked> {
        // The map is whole after every single step, so a panic elsewhere does no harm to it.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn of(instances: &[Member]) -> Self {
        let awake = || instances.iter().filter(|it| it.state.is_awake());
        Self {
            total: awake().map(|it| it.concurrency).sum(),
            taken: awake().map(|it| it.holds.len()).sum(),
        }
    }
}

/// A schema that refers to others outside of itself is none here: nothing is fetched.
fn schema_of(schema: &Value) -> Result<jsonschema::Validator, String> {
    jsonschema::options().build(schema).map_err(|fault| fault.to_string())
}

/// Writes the card of a role, unless it says the same already.
pub(crate) async fn describe(
    bus: &Bus,
    (role, by): (&Role, &Role),
    change: impl Fn(&Card) -> Card,
) -> Result<Card, RegistryError> {
    Topology::standard(bus).ensure_stream(bus, AGENT_CARDS).await?;
    let subject = bus.subjects().card(role);
    for _ in 0..CARD_ROUNDS {
        let (seq, known) = newest(bus, role).await?;
        let at = clock::now();
        let blank = || Card::blank(role.clone(), at, by.clone());
        let card = Card { at, by: by.clone(), ..change(&known.clone().unwrap_or_else(blank)) };
        if known.as_ref().is_some_and(|known| known.says_the_same(&card)) {
            return Ok(card);
        }
        let body = card.encode()?;
        if let Some(schema) = &card.accepts {
            schema_of(schema)
                .map_err(|detail| RegistryError::Schema { role: role.clone(), detail })?;
        }
        let out = Outgoing::new(AGENT_CARDS, subject.clone(), body)
            .id(clock::unique())
            .expecting(&subject, seq);
        match bus.publish(out).await {
            Ok(_) => return Ok(card),
            Err(PublishError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(RegistryError::Crowded { role: role.clone() })
}

/// The newest card of a role with its sequence, as the stream's leader has it.
async fn newest(bus: &Bus, role: &Role) -> Result<(u64, Option<Card>), RequestError> {
    let subject = bus.subjects().card(role);
    match bus.last(AGENT_CARDS, subject.as_str()).await {
        Ok(Some(last)) => Ok((last.seq, decode(bus, role, &last).await?)),
        Ok(None) => Ok((0, None)),
        Err(error) if error.refusal() == Some(NO_STREAM) => Ok((0, None)),
        Err(error) => Err(error),
    }
}

/// A card that can't be read, or is not from who it says, says nothing, and the next one takes its
/// place. Whose it is, its
/// subject says.
async fn decode(bus: &Bus, role: &Role, it: &RawMessage) -> Result<Option<Card>, RequestError> {
    let card = serde_json::from_slice::<Card>(&it.payload);
    let card = card.inspect_err(|error| tracing::warn!(%role, %error, "a card is not readable"));
    let Ok(card) = card else { return Ok(None) };
    let sender = admit((bus, role), (AGENT_CARDS, &it.received()), &card.by).await?;
    Ok(sender.map(|_| Card { role: role.clone(), ..card }))
}

async fn cards(bus: &Bus) -> Result<Vec<Card>, RegistryError> {
    let mut cards = Vec::new();
    let mut scan = match bus.scan(AGENT_CARDS, bus.subjects().cards().as_str(), 1).await {
        Err(error) if error.source.refusal() == Some(NO_STREAM) => return Ok(cards),
        scan => scan?,
    };
    while scan.pending() > 0 {
        let message = scan.next().await?;
        if let Some(Address::Card(role)) = bus.subjects().parse(&message.subject) {
            let card = decode(bus, &role, &message).await?;
            cards.extend(card.filter(|card| !card.withdrawn));
        }
    }
    Ok(cards)
}

/// How everybody stands who showed a sign of life within the last minutes, by the clock of the
/// server that has heard it.
async fn members(bus: &Bus) -> Result<Vec<Member>, RegistryError> {
    let filter = bus.subjects().heartbeats();
    let mut scan = match bus.scan(AGENT_PRESENCE, filter.as_str(), 1).await {
        Err(error) if error.source.refusal() == Some(NO_STREAM) => return Ok(Vec::new()),
        scan => scan?,
    };
    let mut newest: BTreeMap<InstanceId, (Time, Heartbeat)> = BTreeMap::new();
    while scan.pending() > 0 {
        let message = scan.next().await?;
        let beat = serde_json::from_slice::<Heartbeat>(&message.payload);
        if let Some(beat) = beat.ok().filter(Heartbeat::is_of_agent) {
            newest.insert(beat.instance.clone(), (message.time, beat));
        }
    }
    let now = bus.server_time(AGENT_PRESENCE).await?;
    let member = |(heard_at, beat): (Time, Heartbeat)| Member {
        state: standing::of_instance(&beat, now.since(heard_at)),
        role: beat.role,
        instance: beat.instance,
        holds: beat.holds.into_iter().map(|held| held.task_id).collect(),
        concurrency: beat.concurrency,
        heard_at,
    };
    Ok(newest.into_values().map(member).collect())
}

/// How many tasks each role has on its queue.
async fn queues(bus: &Bus) -> Result<BTreeMap<Role, u64>, RegistryError> {
    let mut queues = BTreeMap::new();
    for pattern in ["agents.*.tasks", "agents.*.tasks.*"] {
        let counts = match bus.depth(AGENT_TASKS, &bus.subjects().pattern(pattern)).await {
            Err(DepthError::Request { source, .. }) if source.refusal() == Some(NO_STREAM) => {
                continue;
            }
            counts => counts?,
        };
        for (subject, count) in counts {
            if let Some(Address::Tasks(role, _)) = bus.subjects().parse(&subject) {
                *queues.entry(role).or_default() += count;
            }
        }
    }
    Ok(queues)
}

//! The orgs that somebody looks at, and how to get into them. A room is opened by its first visitor
//! and left when nobody has looked for a while, so an org that nobody looks at holds nothing; that
//! of the server itself stays open.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use sinew_bus::{Auth, Bus, Config, clock};
use sinew_model::{
    OrgId, Role,
    grant::User,
    limits::{DASHBOARD_LOOK_EVERY, DASHBOARD_ROOMS},
};
use sinew_views::{EventView, Store};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{DashboardError, fault::Fault, room::Room};
use crate::{
    account::Orgs,
    context::Context,
    control::org::Tenants,
    token::{Grant, Tokens},
};

/// The role of a person who runs the org.
pub(super) const OPERATOR: &str = "operator";

/// How the orgs are reached.
#[derive(Clone, Debug)]
pub enum Reach {
    /// A data folder with the keys of all its orgs: every visitor gets the rights of their role.
    Folder(Box<Context>),
    /// One login to one org, whose rights every visitor has.
    Login(Box<Config>),
}

/// What the org of the server itself has already.
#[derive(Debug)]
pub struct Home {
    /// Its connection.
    pub bus: Bus,
    /// The view of its tasks, which the service of the org keeps up.
    pub store: Store,
    /// The file of the view of its events.
    pub events: PathBuf,
}

/// All rooms.
#[derive(Debug)]
pub struct House {
    reach: Reach,
    tokens: Tokens,
    home: Arc<Room>,
    rooms: Mutex<BTreeMap<OrgId, Arc<Room>>>,
    /// One room is opened at a time, so that none is opened twice.
    opening: tokio::sync::Mutex<()>,
    running: Mutex<JoinSet<()>>,
    stop: CancellationToken,
}

impl House {
    /// The house of a server, with the room of its own org.
    ///
    /// # Errors
    /// When the view of events can't be opened.
    pub async fn open(
        home: Home,
        reach: Reach,
        tokens: Tokens,
    ) -> Result<Arc<Self>, DashboardError> {
        let stop = CancellationToken::new();
        let events = EventView::open(home.events, home.bus.subjects().clone()).await?;
        let room = Room::new(home.bus, home.store, events, (OPERATOR.parse()?, stop.child_token()));
        let house = Self {
            reach,
            tokens,
            home: Arc::clone(&room),
            rooms: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            running: Mutex::default(),
            stop,
        };
        house.start(room.keep_up(false));
        Ok(Arc::new(house))
    }

    /// What a token lets in as.
    pub(super) fn grant(&self, token: &str) -> Result<Option<Grant>, Fault> {
        Ok(self.tokens.grant(token)?)
    }

    /// The room of an org.
    pub(super) async fn room(&self, org: &OrgId) -> Result<Arc<Room>, Fault> {
        if org == self.home.org() {
            return Ok(Arc::clone(&self.home));
        }
        let _one = self.opening.lock().await;
        if let Some(room) = self.known(org) {
            return Ok(room);
        }
        let Reach::Folder(context) = &self.reach else {
            return Err(Fault::Forbidden(format!("The org {org} is not served here.")));
        };
        if locked(&self.rooms).len() >= DASHBOARD_ROOMS {
            return Err(Fault::Crowded);
        }
        let bus = self.connect(org, &User::Operator).await?;
        let file = Tenants::view_of(context, org);
        let events = file.with_extension("events.db");
        let subjects = bus.subjects().clone();
        let opened = async {
            let store = Store::open(file, subjects.clone()).await?;
            Ok((store, EventView::open(events, subjects).await?))
        };
        let opened: Result<_, sinew_views::OpenError> = opened.await;
        let (store, events) = opened.map_err(|error| Fault::away("the view", &error))?;
        let role = self.home.reader().role().clone();
        let room = Room::new(bus, store, events, (role, self.stop.child_token()));
        self.start(Arc::clone(&room).keep_up(true));
        locked(&self.rooms).insert(org.clone(), Arc::clone(&room));
        Ok(room)
    }

    /// Connects to an org with the rights of a role in it.
    pub(super) async fn connect(&self, org: &OrgId, user: &User) -> Result<Bus, Fault> {
        let mut config = match &self.reach {
            Reach::Login(config) => (**config).clone(),
            Reach::Folder(context) => {
                let orgs = Orgs::new(&context.data_dir, context.root.clone());
                match orgs.record(org) {
                    Ok(_) => {
                        let creds = orgs.ensure_local(org, user);
                        let creds = creds.map_err(|error| Fault::away("the login", &error))?;
                        context.org_config(org, creds)
                    }
                    // A server with a password has one login for everybody.
                    Err(_) if *org == context.org => context.bus_config(),
                    Err(error) => return Err(Fault::away("the org", &error)),
                }
            }
        };
        if let Auth::Credentials(_) = &config.auth {
            config.name = format!("sinew dashboard of {}", user.name());
        }
        Bus::connect(config).await.map_err(|error| Fault::away("the backbone", &error))
    }

    /// The orgs of the data folder, for who runs the platform: the operator of the org that the
    /// folder was made for.
    pub(super) fn orgs_for(&self, grant: &Grant) -> Option<(&Context, Orgs)> {
        let Reach::Folder(context) = &self.reach else { return None };
        let is_operator = grant.org == context.org && grant.role.as_str() == OPERATOR;
        is_operator.then(|| (&**context, Orgs::new(&context.data_dir, context.root.clone())))
    }

    /// As whom a role acts.
    pub(super) fn user_of(role: &Role) -> User {
        if role.as_str() == OPERATOR { User::Operator } else { User::Agent(role.clone()) }
    }

    /// Leaves the rooms that nobody looks at, until `stop`.
    pub(super) async fn tend(&self, stop: &CancellationToken) {
        let tend = async {
            loop {
                clock::pause(DASHBOARD_LOOK_EVERY).await;
                locked(&self.rooms).retain(|_, room| {
                    let stays = room.is_used();
                    if !stays {
                        room.leave();
                    }
                    stays
                });
                while locked(&self.running).try_join_next().is_some() {}
            }
        };
        stop.run_until_cancelled(tend).await;
    }

    /// Leaves all rooms, and waits until nothing runs in them.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        let mut running = std::mem::take(&mut *locked(&self.running));
        while running.join_next().await.is_some() {}
    }

    fn known(&self, org: &OrgId) -> Option<Arc<Room>> {
        locked(&self.rooms).get(org).map(Arc::clone)
    }

    fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        locked(&self.running).spawn(work);
    }
}

/// What the locks guard is whole after every step, so a panic elsewhere does no harm to it.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

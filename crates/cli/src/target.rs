//! Where a command acts: which server, as whom, in which org. Flags win, then the environment,
//! then the context that `sinew up` wrote, which is looked for from the working folder upwards.

use std::path::{Path, PathBuf};

use sinew_agent::{Auth, Bus, Client, Config};
use sinew_bus::{connect::without_login, sign::user_of};
use sinew_model::{OrgId, Role, grant::User};
use sinew_server::{
    account::{AccountError, Orgs},
    context::{Context, ContextError},
};

use crate::{args::Global, env, exit::Fault};

/// The folder that `sinew up` keeps everything in, unless told otherwise.
pub(crate) const DATA_DIR: &str = ".sinew";
/// Who a person at the command line is, unless they say otherwise.
const PERSON: &str = "operator";

/// Where a command acts.
#[derive(Debug)]
pub(crate) struct Target {
    /// How to connect.
    pub(crate) config: Config,
    /// The role to act as.
    pub(crate) role: Role,
    /// The context that was found, and its file.
    pub(crate) context: Option<(PathBuf, Context)>,
    /// Whether the login was named, and not found by the context.
    is_given: bool,
}

impl Target {
    /// Finds out where to act.
    ///
    /// # Errors
    /// When nothing says where, or what says so makes no sense.
    pub(crate) fn find(global: &Global) -> anyhow::Result<Self> {
        let url = global.url.clone().map_or_else(|| env::text(env::URL), |url| Ok(Some(url)))?;
        let creds = global.creds.clone().or_else(|| env::path(env::CREDS));
        let org = global.org.clone().map_or_else(|| env::parsed(env::ORG), |org| Ok(Some(org)))?;
        let role = role(global)?.or_else(|| role_of(creds.as_deref()));
        let role = role.map_or_else(|| PERSON.parse(), Ok)?;
        let context = match context(global) {
            // Whoever names a server needs no context.
            Err(ContextError::Missing { .. }) if url.is_some() && !is_named(global) => None,
            found => Some(found?),
        };
        let known = context.as_ref().map(|(_, context)| context);
        // The login of a context is shown to the server of that context and to no other.
        let known = known.filter(|known| url.as_ref().is_none_or(|url| *url == known.url));
        let mut config = match (known, &url) {
            (Some(known), _) => known.bus_config(),
            (None, Some(url)) => {
                let org = org.clone().ok_or_else(|| {
                    Fault::usage(format!("which org at {}?", without_login(url)))
                        .hint("name it with --org or SINEW_ORG")
                })?;
                Config::new(url.clone(), org)
            }
            (None, None) => return Err(missing().into()),
        };
        let is_given = creds.is_some();
        match (org, creds) {
            (org, Some(creds)) => {
                config.auth = Auth::Credentials(creds);
                // Whoever made them vouches, as they say themselves.
                config.signing.account = None;
                config.org = org.unwrap_or(config.org);
            }
            (Some(org), None) if org != config.org => {
                config.auth = known.map_or_else(
                    || Err(foreign(&config.org, &org)),
                    |known| login_of(known, &org),
                )?;
                (config.org, config.signing.account) = (org, None);
            }
            (_, None) => {}
        }
        global.secure.apply(&mut config)?;
        config.name = format!("sinew {role}");
        Ok(Self { config, role, context, is_given })
    }

    /// Goes on with the rights of `user` and no more, where the login was not named and the data
    /// folder is there to make it: what an agent's program is told to do by others should not be
    /// done with the rights of the operator.
    ///
    /// # Errors
    /// When the credentials can't be made.
    pub(crate) fn as_user(&mut self, user: &User) -> anyhow::Result<()> {
        let Some(orgs) = self.orgs() else { return Ok(()) };
        match orgs.record(&self.config.org) {
            Ok(_) => {
                self.config.auth = Auth::Credentials(orgs.ensure_local(&self.config.org, user)?);
                Ok(())
            }
            Err(AccountError::Unknown { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What the account of the org says of its keys and users, where the data folder is there to
    /// make it.
    ///
    /// # Errors
    /// When the keys can't be used.
    pub(crate) fn statement(&self) -> anyhow::Result<Option<String>> {
        let Some(orgs) = self.orgs() else { return Ok(None) };
        match orgs.statement(&self.config.org) {
            Ok(statement) => Ok(Some(statement)),
            Err(AccountError::Unknown { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The orgs of the data folder, where the context led to it and not a login that was named.
    fn orgs(&self) -> Option<Orgs> {
        let (_, context) = self.own_context().filter(|_| !self.is_given)?;
        Some(Orgs::new(&context.data_dir, context.root.clone()))
    }

    /// Connects.
    ///
    /// # Errors
    /// When there is no connection to be had.
    pub(crate) async fn connect(&self) -> anyhow::Result<Bus> {
        Ok(Bus::connect(self.config.clone()).await?)
    }

    /// Connects, and speaks for the role.
    ///
    /// # Errors
    /// When there is no connection to be had.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(self.connect().await?, self.role.clone()))
    }

    /// The context, where it is the one that is connected to.
    pub(crate) fn own_context(&self) -> Option<&(PathBuf, Context)> {
        self.context.as_ref().filter(|(_, context)| context.url == self.config.url)
    }
}

/// The role of an agent's credentials, since it speaks for no other.
fn role_of(creds: Option<&Path>) -> Option<Role> {
    // What is wrong with the file is said when it is used.
    match user_of(&std::fs::read_to_string(creds?).ok()?)? {
        User::Agent(role) => Some(role),
        User::Observer | User::Operator | User::Server => None,
    }
}

/// The role that was named, by flag or environment.
///
/// # Errors
/// When the environment names something that is no role.
pub(crate) fn role(global: &Global) -> Result<Option<Role>, Fault> {
    global.role.clone().map_or_else(|| env::parsed(env::ROLE), |role| Ok(Some(role)))
}

/// How to enter another org than the context's own, as its operator: whoever has the data folder is
/// that of every org in it.
fn login_of(context: &Context, org: &OrgId) -> anyhow::Result<Auth> {
    let orgs = Orgs::new(&context.data_dir, context.root.clone());
    match orgs.record(org) {
        Ok(_) => Ok(Auth::Credentials(orgs.ensure_local(org, &User::Operator)?)),
        Err(AccountError::Unknown { .. }) => Err(foreign(&context.org, org)),
        Err(error) => Err(error.into()),
    }
}

fn foreign(known: &OrgId, org: &OrgId) -> anyhow::Error {
    let fault = Fault::usage(format!("the context is of the org {known}, not of {org}"));
    fault.hint("each org has a login of its own: name one with --creds").into()
}

fn is_named(global: &Global) -> bool {
    global.context.is_some() || env::path(env::CONTEXT).is_some()
}

fn context(global: &Global) -> Result<(PathBuf, Context), ContextError> {
    let named = global.context.clone().or_else(|| env::path(env::CONTEXT));
    let path = match named {
        Some(path) if path.is_dir() => Context::path_in(&path),
        Some(path) => path,
        None => upwards().ok_or_else(missing)?,
    };
    let path = std::path::absolute(&path).unwrap_or(path);
    Context::load(&path).map(|context| (path, context))
}

/// The nearest context from the working folder upwards.
fn upwards() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let mut places = here.ancestors().map(|folder| Context::path_in(&folder.join(DATA_DIR)));
    places.find(|path| path.is_file())
}

fn missing() -> ContextError {
    ContextError::Missing { path: Context::path_in(Path::new(DATA_DIR)) }
}

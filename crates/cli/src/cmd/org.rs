//! `sinew org`: tenants and their credentials, on a backbone that runs. Each change is written down
//! in the data folder, told to the server, which acts on it at once, and said on the org's events.

mod add;
mod creds;
mod incidents;
mod init;
mod list;
mod refusals;
mod remove;
mod revoke;
mod rotate;

use serde_json::Value;
use sinew_agent::{Client, Emission};
use sinew_bus::{Bus, ensure::Ensured};
use sinew_model::{
    OrgId,
    grant::User,
    stream::{ORG_EVENTS, ORG_SENDERS},
};
use sinew_server::{
    account::{Directory, Orgs},
    context::Context,
};

use crate::{
    args::Global,
    exit::{Code, Fault},
    output::Out,
    target::Target,
};

/// The server's number for a stream that it has not.
const NO_STREAM: u32 = 10_059;

/// The orgs of a backbone, and who is let in.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Init(init::Args),
    Add(add::Args),
    List(list::Args),
    Creds(creds::Args),
    Rotate(rotate::Args),
    Revoke(revoke::Args),
    Incidents(incidents::Args),
    Refusals(refusals::Args),
    Remove(remove::Args),
}

/// Runs the verb.
///
/// # Errors
/// Whatever went wrong.
pub(crate) async fn run(command: Command, global: &Global, out: Out) -> anyhow::Result<Code> {
    let here = || Here::find(global);
    match command {
        Command::Init(args) => init::run(&args, out),
        Command::Add(args) => add::run(&args, &here()?, out).await,
        Command::List(args) => list::run(&args, &here()?, out).await,
        Command::Creds(args) => creds::run(&args, global.role.clone(), &here()?, out).await,
        Command::Rotate(args) => rotate::run(&args, &here()?, out).await,
        Command::Revoke(args) => revoke::run(&args, global.role.clone(), &here()?, out).await,
        Command::Incidents(args) => incidents::run(&args, &here()?, out),
        Command::Refusals(args) => refusals::run(&args, &here()?, out),
        Command::Remove(args) => remove::run(&args, &here()?, out).await,
    }
}

/// The backbone whose operator this is: whoever has its data folder.
struct Here {
    context: Context,
    orgs: Orgs,
}

impl Here {
    fn find(global: &Global) -> anyhow::Result<Self> {
        let target = Target::find(global)?;
        let Some((_, context)) = target.own_context() else {
            return Err(Fault::usage("orgs are kept in the data folder of `sinew up`")
                .hint("run this where `sinew up` runs, without --url, or name its --context")
                .into());
        };
        let orgs = Orgs::new(&context.data_dir, context.root.clone());
        Ok(Self { context: context.clone(), orgs })
    }

    /// The server's directory. It is opened before anything is changed: out of reach means that
    /// nothing was done.
    async fn directory(&self) -> anyhow::Result<Directory> {
        Ok(Directory::connect(&self.context.url, &self.orgs.system_creds()).await?)
    }

    /// Tells the server what is new about an org.
    async fn tell(&self, directory: &Directory, org: &OrgId) -> anyhow::Result<()> {
        Ok(directory.put(&self.orgs.org_jwt(org)?).await?)
    }

    /// Tells whoever verifies signatures in an org whose count now; in one that is not used yet,
    /// whoever uses it first does so.
    async fn vouch(&self, org: &OrgId) -> anyhow::Result<()> {
        let bus = self.enter(org).await?;
        match bus.stream_state(ORG_SENDERS).await {
            Ok(_) => {}
            Err(error) if error.refusal() == Some(NO_STREAM) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        Ok(bus.vouch(&self.orgs.statement(org)?).await?)
    }

    /// Makes the streams of an org where it is used for the first time, and says then on its events
    /// what was done to it before.
    async fn make_streams(&self, org: &OrgId) -> anyhow::Result<()> {
        let bus = self.enter(org).await?;
        let topology = self.orgs.record(org)?.quota.topology(&bus)?;
        let mut is_new = false;
        for spec in &topology.catalogue().streams {
            let ensured = topology.ensure_stream(&bus, spec.name).await?;
            is_new |= spec.name == ORG_EVENTS && ensured == Ensured::Created;
        }
        self.vouch(org).await?;
        if !is_new {
            return Ok(());
        }
        let client = Client::new(bus, "operator".parse()?);
        for entry in self.orgs.history(org)? {
            if let Some(action) = entry.get("action").and_then(Value::as_str) {
                let what = Emission::new(action).kind("org.audit").details(entry.clone());
                client.emit(what).await?;
            }
        }
        Ok(())
    }

    /// A connection to the org, as its controllers.
    async fn enter(&self, org: &OrgId) -> anyhow::Result<Bus> {
        let creds = self.orgs.ensure_local(org, &User::Server)?;
        let mut config = self.context.org_config(org, creds);
        config.name = format!("sinew org {org}");
        Ok(Bus::connect(config).await?)
    }

    /// Says on the org's events what was done to it. The change stands either way.
    async fn announce(&self, org: &OrgId, action: &str, details: Value, out: Out) {
        let said = async {
            let bus = self.enter(org).await?;
            let client = Client::new(bus, "operator".parse()?);
            let what = Emission::new(action).kind("org.audit").details(details);
            anyhow::Ok(client.emit(what).await?)
        };
        if let Err(error) = said.await {
            let why = crate::exit::told(&error);
            out.note(format_args!("warning: done, but not said on the events of {org}: {why}"));
        }
    }
}

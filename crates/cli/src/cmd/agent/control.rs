//! `sinew agent pause`, `resume` and `drain`: the flow of work to a role, or to one instance of it.

use serde_json::json;
use sinew_agent::{Client, Query};
use sinew_bus::{Bus, clock};
use sinew_model::{
    Band, InstanceId, Role,
    control::Target,
    presence::standing::Standing,
    stream::{AGENT_TASKS, work_consumer_name},
};

use crate::{
    args::Global,
    exit::{Code, Fault},
    output::Out,
    target::Target as Place,
    text::moment,
};

/// Stop the flow of work to a role or an instance.
///
/// What runs goes on, and nothing new begins. Tasks may still be delegated: they wait. It holds
/// until `sinew agent resume`, over every restart, and for agents of the role that start later.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew agent pause cto
  sinew agent pause cto-0 --for 10m")]
pub(crate) struct PauseArgs {
    /// A role, or else the name of an instance
    #[arg(value_name = "ROLE|INSTANCE")]
    who: String,
    /// Until this moment, as 2026-05-10T14:23:01Z
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// For so long from now on, as 10m
    #[arg(long = "for", value_name = "SPAN", conflicts_with = "until")]
    span: Option<String>,
}

/// Take back a pause.
///
/// A pause of a role and one of an instance are two: an instance works when neither holds.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew agent resume cto")]
pub(crate) struct ResumeArgs {
    /// The role or the instance that was paused
    #[arg(value_name = "ROLE|INSTANCE")]
    who: String,
}

/// Have an instance, or every instance of a role, end in order.
///
/// Each process takes nothing more, lets its tasks end within its own --drain time, hands back
/// what does not end in time, and leaves with exit code 0. It is for the processes that run now:
/// what is started later works as ever. Pause the role as well if none is to work.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew agent drain cto-0")]
pub(crate) struct DrainArgs {
    /// A role, or else the name of an instance
    #[arg(value_name = "ROLE|INSTANCE")]
    who: String,
}

/// Pauses.
///
/// # Errors
/// When nobody is called so, or it could not be said.
pub(crate) async fn pause(args: &PauseArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let until = args.until.as_ref().or(args.span.as_ref());
    let until = until.map(|text| moment(text)).transpose()?;
    if let Some(past) = until.filter(|until| *until <= clock::now()) {
        return Err(Fault::usage(format!("{past} is over already")).into());
    }
    let (client, whom) = find(&args.who, global).await?;
    client.pause(&whom, until).await?;
    if out.is_json() {
        out.document(&said(&whom, &json!({ "paused": true, "until": until })))?;
        return Ok(Code::Done);
    }
    let until = until.map_or_else(
        || format!("`sinew agent resume {whom}` undoes it"),
        |until| format!("until {until}"),
    );
    out.note(format_args!("{whom} is paused; {until}"));
    Ok(Code::Done)
}

/// Resumes.
///
/// # Errors
/// When nobody is called so, or it could not be said.
pub(crate) async fn resume(args: &ResumeArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let (client, whom) = find(&args.who, global).await?;
    let was = client.resume(&whom).await?;
    if out.is_json() {
        out.document(&said(&whom, &json!({ "paused": false, "was": was })))?;
    } else if was {
        out.note(format_args!("{whom} works again"));
    } else {
        out.note(format_args!("{whom} was not paused; nothing was changed"));
    }
    Ok(Code::Done)
}

/// Orders to drain.
///
/// # Errors
/// When nobody is called so, or it could not be said.
pub(crate) async fn drain(args: &DrainArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let (client, whom) = find(&args.who, global).await?;
    client.drain(&whom).await?;
    if out.is_json() {
        out.document(&said(&whom, &json!({ "draining": true })))?;
    } else {
        out.note(format_args!("{whom} was told to drain; `sinew agent list` shows how it goes"));
    }
    Ok(Code::Done)
}

fn said(whom: &Target, what: &serde_json::Value) -> serde_json::Value {
    let mut document = json!({ "role": whom.role(), "instance": whom.instance() });
    if let (Some(document), Some(what)) = (document.as_object_mut(), what.as_object()) {
        document.extend(what.clone());
    }
    document
}

/// Who is meant: a role that there is, else an instance that there is.
async fn find(who: &str, global: &Global) -> anyhow::Result<(Client, Target)> {
    let place = Place::find(global)?;
    let bus = place.connect().await?;
    let client = Client::new(bus.clone(), place.role.clone());
    if let Ok(role) = who.parse::<Role>()
        && is_role(&bus, &client, &role).await?
    {
        return Ok((client, Target::Role(role)));
    }
    if let Ok(instance) = who.parse::<InstanceId>() {
        let gone = Query { state: Some(Standing::Gone), ..Query::default() };
        for query in [Query::default(), gone] {
            let mut there = client.agents(&query).await?.into_iter().flat_map(|it| it.instances);
            if let Some(found) = there.find(|it| it.instance == instance) {
                return Ok((client, Target::Instance(found.role, instance)));
            }
        }
        if let Some(role) = client.controlled(&instance).await? {
            return Ok((client, Target::Instance(role, instance)));
        }
    }
    Err(Fault::not_found(format!("there is no role and no instance {who:?}"))
        .hint("`sinew agent list` shows who is there")
        .into())
}

/// Whether agents of the role were ever there, tasks for it wait, or something was said about it.
async fn is_role(bus: &Bus, client: &Client, role: &Role) -> anyhow::Result<bool> {
    let consumer = work_consumer_name(role, Band::Normal);
    Ok(bus.open_deliveries(AGENT_TASKS, &consumer).await.is_ok_and(|open| open.is_some())
        || client.roles().await?.contains(role)
        || client.control(&Target::Role(role.clone())).await?.is_some())
}

//! `sinew agent show`, `describe` and `forget`: what a role can do.

use serde_json::{Value, json};
use sinew_agent::{
    Inbox, Query,
    registry::{Known, Places},
};
use sinew_model::{Role, card::Description};

use crate::{
    args::Global,
    cmd::task,
    exit::{Code, Fault},
    output::Out,
    target::Target,
    text,
};

/// Show what is known of a role: what it can do, who is there, and what waits for it.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew agent show cto")]
pub(crate) struct ShowArgs {
    /// The role
    #[arg(value_name = "ROLE")]
    who: Role,
}

/// Say what a role can do, so that others find it and know what to give it.
///
/// The card outlives restarts and the time when nobody of the role is awake. What is not said stays
/// as it was. A task whose input does not fit what the role accepts is refused where it is
/// delegated. `sinew agent run` takes the same flags.
#[derive(Clone, Debug, clap::Args)]
#[command(
    visible_alias = "register",
    after_long_help = "Examples:
  sinew agent describe cto --about 'Builds and mends' --skill rust --skill nats
  sinew agent describe cto --accepts '{\"type\":\"object\",\"required\":[\"files\"]}'
  sinew agent describe cto --card cto.json"
)]
pub(crate) struct DescribeArgs {
    /// The role
    #[arg(value_name = "ROLE")]
    who: Role,
    #[command(flatten)]
    card: CardArgs,
}

/// Take a role out of the registry.
///
/// It is no longer listed, and no acknowledgement is expected of it, until it is described again or
/// an agent of it starts. Its tasks and messages stay.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Example:
  sinew agent forget cto")]
pub(crate) struct ForgetArgs {
    /// The role
    #[arg(value_name = "ROLE")]
    who: Role,
}

/// What is said about a role.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct CardArgs {
    /// A JSON file with `about`, `skills` and `accepts`; flags come before it
    #[arg(long, value_name = "FILE", help_heading = "Card")]
    card: Option<String>,
    /// What the role is for
    #[arg(long, value_name = "TEXT", help_heading = "Card")]
    about: Option<String>,
    /// A skill, instead of those that it had; may be given several times
    #[arg(long, value_name = "SKILL", help_heading = "Card")]
    skill: Vec<String>,
    /// The JSON Schema of the inputs that it accepts, @FILE, or - for stdin; true for all
    #[arg(long, value_name = "SCHEMA|@FILE|-", help_heading = "Card")]
    accepts: Option<String>,
}

impl CardArgs {
    /// What is said.
    ///
    /// # Errors
    /// When a file can't be read or something is no JSON.
    pub(crate) fn description(&self) -> Result<Description, Fault> {
        let mut said = match &self.card {
            None => Description::default(),
            Some(path) => {
                let card: Value = task::read_json("the card", &format!("@{path}"))?;
                serde_json::from_value(card).map_err(|error| {
                    Fault::usage(format!("{path} is no card: {error}"))
                        .hint("it may have the fields about, skills and accepts")
                })?
            }
        };
        if let Some(about) = &self.about {
            said.about = Some(about.clone());
        }
        if !self.skill.is_empty() {
            said.skills = Some(self.skill.clone());
        }
        if let Some(accepts) = &self.accepts {
            said.accepts = Some(task::read_json("the schema", accepts)?);
        }
        Ok(said)
    }
}

/// Prints what is known of a role.
///
/// # Errors
/// When nothing is, or the backbone can't be asked.
pub(crate) async fn show(args: &ShowArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let client = Target::find(global)?.client().await?;
    let query = Query { role: Some(args.who.clone()), ..Query::default() };
    let unread = Inbox::of(client.bus().clone(), args.who.clone()).unread().await?;
    let Some(known) = client.agents(&query).await?.pop() else {
        return Err(Fault::not_found(format!("nothing is known of a role {}", args.who))
            .hint("`sinew agent list` shows the roles; `sinew agent describe` makes one known")
            .into());
    };
    if out.is_json() {
        let mut document = serde_json::to_value(&known)?;
        if let Some(fields) = document.as_object_mut() {
            fields.insert("unread".to_owned(), serde_json::to_value(unread)?);
        }
        out.document(&document)?;
        return Ok(Code::Done);
    }
    out.line(told(&known, unread.total()))?;
    Ok(Code::Done)
}

fn told(known: &Known, unread: u64) -> String {
    let Places { total, taken } = known.places;
    let mut lines = vec![
        format!("{} is {}", known.role, known.state.word()),
        format!("  queued    {}", known.queued),
        format!("  load      {taken}/{total}"),
        format!("  unread    {unread}"),
    ];
    if let Some(card) = &known.card {
        let accepts = card.accepts.as_ref().map_or_else(|| "anything".to_owned(), Value::to_string);
        let skills = card.skills.join(", ");
        for (name, said) in [("about", &card.about), ("skills", &skills), ("accepts", &accepts)] {
            lines.extend(
                (!said.is_empty()).then(|| format!("  {name:<8}  {}", text::short(said, 400))),
            );
        }
    }
    for it in &known.instances {
        let holds: Vec<&str> = it.holds.iter().map(sinew_model::TaskId::as_str).collect();
        let (state, heard) = (it.state.word(), text::ago(it.heard_at));
        lines.push(format!("  {}: {state}, heard {heard} {}", it.instance, holds.join(" ")));
    }
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

/// Writes a card.
///
/// # Errors
/// When it is not acceptable, or could not be stored.
pub(crate) async fn describe(
    args: &DescribeArgs,
    global: &Global,
    out: Out,
) -> anyhow::Result<Code> {
    let said = args.card.description()?;
    if said == Description::default() {
        return Err(Fault::usage("nothing is said about the role")
            .hint("say it with --about, --skill, --accepts or --card")
            .into());
    }
    let client = Target::find(global)?.client().await?;
    let card = client.describe(&args.who, &said).await?;
    if out.is_json() {
        out.document(&card)?;
    } else {
        out.note(format_args!("{} is described; `sinew agent show {0}` shows it", args.who));
    }
    Ok(Code::Done)
}

/// Takes a role out of the registry.
///
/// # Errors
/// When it is not in it.
pub(crate) async fn forget(args: &ForgetArgs, global: &Global, out: Out) -> anyhow::Result<Code> {
    let client = Target::find(global)?.client().await?;
    if !client.withdraw(&args.who).await? {
        return Err(Fault::not_found(format!("the role {} has no card", args.who))
            .hint("`sinew agent list` shows the roles")
            .into());
    }
    if out.is_json() {
        out.document(&json!({ "role": args.who, "withdrawn": true }))?;
    }
    Ok(Code::Done)
}

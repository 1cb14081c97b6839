//! `sinew scale status`: who leads, and how many instances each role is to have, has, and why.

use sinew_model::scale::RoleSignal;

pub(crate) use sinew_server::control::scale::status::{Leader, Status, health, look};

use crate::{
    args::Global,
    exit::{Code, Fault},
    output::Out,
    target::Target,
    text,
};

/// Show who leads, and how many instances each role is to have, has, and why.
///
/// WANTED is how many instances there are to be, RUNNING those that take work, BUSY those that work
/// on something; BACKLOG are tasks that nobody has begun, PEOPLE those that wait for a person.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew scale status
  sinew scale status --watch")]
pub(crate) struct Args {
    /// Go on, and show every change
    #[arg(long)]
    watch: bool,
}

/// Prints it, once or again and again.
///
/// # Errors
/// When there is nothing to show, or the backbone can't be asked.
pub(crate) async fn run(args: &Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let bus = Target::find(global)?.connect().await?;
    let hints = bus.watch_subject(bus.subjects().system_scaling().as_str()).await;
    let mut hints = hints.map_err(anyhow::Error::msg)?;
    let mut shown = look(&bus).await?.ok_or_else(nobody)?;
    print(&shown, out)?;
    if !args.watch {
        return Ok(Code::Done);
    }
    loop {
        if hints.next().await.is_none() {
            return Err(Fault::new(Code::Unreachable, "the backbone is gone").into());
        }
        let Some(now) = look(&bus).await? else { continue };
        let same = Status { at: shown.at, ..now.clone() } == shown;
        if !same {
            print(&now, out)?;
        }
        shown = now;
    }
}

fn nobody() -> Fault {
    Fault::not_found("no scaler has run for this org")
        .hint("start one: sinew up --team team.toml, or sinew scale run --team team.toml")
}

fn print(status: &Status, out: Out) -> anyhow::Result<()> {
    if out.is_json() {
        return out.document(status);
    }
    let who = |leader: &Option<Leader>| {
        leader.as_ref().map_or_else(
            || "nobody".to_owned(),
            |it| format!("{} (term {})", text::short(&it.holder, 32), it.term),
        )
    };
    let stale = if status.stale { "; THAT IS LONG AGO" } else { "" };
    out.line(format_args!(
        "scaler {}, actuator {}, looked {}{stale}",
        who(&status.scaler),
        who(&status.actuator),
        text::ago(status.at)
    ))?;
    let head = ["ROLE", "WANTED", "RUNNING", "BUSY", "BACKLOG", "PEOPLE", "BOUNDS", "WHY"];
    out.line(text::table(&head, status.roles.iter().map(|it| cells(it, status))))
}

fn cells(it: &RoleSignal, status: &Status) -> Vec<String> {
    let crashing = status.crashing.iter().find(|crash| crash.role == it.role);
    let why = crashing.map_or_else(
        || {
            let words = it.reason.words();
            it.stuck_since.map_or_else(
                || words.to_owned(),
                |since| format!("STUCK since {}: no instance comes up", text::ago(since)),
            )
        },
        |crash| format!("CRASHED {} times: {}", crash.times, text::short(&crash.why, 120)),
    );
    let numbers = [it.replicas.to_string(), it.running.to_string(), it.busy.to_string()];
    let tasks = [it.backlog.to_string(), it.waiting.to_string()];
    let bounds = format!("{}..{}", it.min, it.max);
    let role = [it.role.to_string()];
    role.into_iter().chain(numbers).chain(tasks).chain([bounds, why]).collect()
}

//! `sinew task list`: tasks from the view, the newest first.

use sinew_model::{Role, TaskId, limits::VIEW_ROWS};
use sinew_views::task::{Filter, PHASES, TaskRow};

use crate::{
    args::Global,
    exit::Code,
    output::Out,
    target::Target,
    text::{self, number_to},
    view,
};

/// Characters of a title that the list shows.
const TITLE: usize = 48;

/// List tasks, the newest first.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew task list
  sinew task list --for cto --phase running --phase retrying
  sinew task list --state blocked --state waiting
  sinew task list --open --json")]
pub(crate) struct Args {
    /// Those of this role
    #[arg(long = "for", value_name = "ROLE")]
    of: Option<Role>,
    /// Those that this role delegated
    #[arg(long, value_name = "ROLE")]
    delegator: Option<Role>,
    /// The children of this task
    #[arg(long, value_name = "ID")]
    parent: Option<TaskId>,
    /// Those that stand here; may be said several times
    #[arg(long, visible_alias = "state", value_name = "PHASE", value_parser = clap::builder::PossibleValuesParser::new(PHASES))]
    phase: Vec<String>,
    /// Those that have not ended
    #[arg(long, conflicts_with = "ended")]
    open: bool,
    /// Those that have ended
    #[arg(long)]
    ended: bool,
    /// Those with this text in title or id
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// So many at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = number_to::<VIEW_ROWS>)]
    limit: usize,
    /// The page that begins there: what `next` of the page before said
    #[arg(long, value_name = "N")]
    after: Option<u64>,
}

/// Prints the list.
///
/// # Errors
/// When the backbone or the view can't be read.
pub(crate) async fn run(args: Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let target = Target::find(global)?;
    let bus = target.connect().await?;
    let ended = if args.open { Some(false) } else { args.ended.then_some(true) };
    let filter = Filter {
        role: args.of,
        delegator: args.delegator,
        parent: args.parent,
        phases: args.phase,
        search: args.search,
        ended,
        limit: Some(args.limit),
        after: args.after,
        ..Filter::default()
    };
    let page = view::open(&target, &bus).await?.list(filter).await?;
    if out.is_json() {
        out.document(&page)?;
        return Ok(Code::Done);
    }
    if page.tasks.is_empty() {
        out.note("no tasks");
        return Ok(Code::Done);
    }
    let head = ["TASK", "ROLE", "PHASE", "TRY", "CHANGED", "TITLE"];
    out.line(text::table(&head, page.tasks.iter().map(cells)))?;
    if let Some(next) = page.next {
        out.note(format_args!("there are more: go on with --after {next}"));
    }
    Ok(Code::Done)
}

fn cells(task: &TaskRow) -> Vec<String> {
    vec![
        task.task_id.to_string(),
        task.role.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
        task.phase.clone(),
        task.attempts.to_string(),
        text::ago(task.updated_at),
        text::short(&task.title, TITLE),
    ]
}

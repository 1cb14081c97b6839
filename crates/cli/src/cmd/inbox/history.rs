//! `sinew inbox history`: all that was sent to a role. It takes nothing away.

use std::collections::VecDeque;

use sinew_agent::inbox::past::{Kept, Past};
use sinew_model::{Role, Time, mail::Mail};

use super::{Shown, line_with_id};
use crate::{args::Global, exit::Code, output::Out, signals, target::Target};

/// Print the messages that were sent to a role, read or not, the oldest first.
///
/// These are direct messages, messages to everybody, and reports about the tasks that the role
/// delegated. Nothing is taken away and nothing is acked.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew inbox history --last 20
  sinew inbox history --role cto --thread build-17 --json")]
pub(crate) struct Args {
    /// Only what came at this moment or later, as 2026-05-10T14:23:01Z
    #[arg(long, value_name = "TIME")]
    since: Option<Time>,
    /// Only the messages of this thread
    #[arg(long, value_name = "ID")]
    thread: Option<String>,
    /// Only what this role sent
    #[arg(long, value_name = "ROLE")]
    from: Option<Role>,
    /// Only the last so many of those that there are
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// Go on with what comes
    #[arg(long)]
    follow: bool,
}

impl Args {
    fn fits(&self, kept: &Kept, mail: &Mail) -> bool {
        self.since.is_none_or(|since| kept.time >= since)
            && self.thread.as_ref().is_none_or(|thread| mail.thread() == thread)
            && self.from.as_ref().is_none_or(|from| mail.from == *from)
    }
}

/// Prints the messages.
///
/// # Errors
/// When they can't be read.
pub(super) async fn run(args: &Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let client = Target::find(global)?.client().await?;
    let stop = signals::listen()?;
    let mut past = client.inbox().history().await?;
    let mut last: VecDeque<Shown> = VecDeque::new();
    let mut printed = false;
    while let Some(kept) = past.next_kept().await? {
        if stop.gently.is_cancelled() {
            return Ok(Code::Done);
        }
        let Some(mail) = fitting(args, &kept, out) else { continue };
        printed = true;
        match args.last {
            None => out.either(&mail, line_with_id(&mail))?,
            Some(most) => {
                last.push_back(mail);
                if last.len() > most {
                    last.pop_front();
                }
            }
        }
    }
    for mail in last {
        out.either(&mail, line_with_id(&mail))?;
    }
    if !printed && !args.follow {
        out.note(format_args!("nothing that fits was sent to {}", client.role()));
    }
    let refused = past.refused().total();
    if refused > 0 {
        out.note(format_args!("{refused} messages were refused; `sinew evidence` shows them"));
    }
    if args.follow { follow(args, &mut past, &stop, out).await } else { Ok(Code::Done) }
}

async fn follow(
    args: &Args,
    past: &mut Past,
    stop: &signals::Stop,
    out: Out,
) -> anyhow::Result<Code> {
    loop {
        let kept = tokio::select! {
            kept = past.next() => kept?,
            () = stop.gently.cancelled() => return Ok(Code::Done),
        };
        if let Some(mail) = fitting(args, &kept, out) {
            out.either(&mail, line_with_id(&mail))?;
        }
    }
}

fn fitting(args: &Args, kept: &Kept, out: Out) -> Option<Shown> {
    match &kept.mail {
        Ok(mail) if args.fits(kept, mail) => Some(Shown::of(mail, &kept.verdict)),
        Ok(_) => None,
        Err(why) => {
            out.note(format_args!("message {} is passed over: {why}", kept.seq));
            None
        }
    }
}

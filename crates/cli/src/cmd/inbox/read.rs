//! `sinew inbox read`: hands out what nobody has read.

use sinew_agent::{Client, Letter, Received};
use sinew_model::limits::INBOX_TAKE;

use super::{Shown, line_with_id};
use crate::{args::Global, exit::Code, output::Out, signals, target::Target, text::number_to};

/// Read what nobody of the role has read yet.
///
/// Each message is handed to one reader, the urgent ones first, and is acked when it is printed:
/// the role does not get it again. A reader that handles messages by itself takes them with
/// --no-ack, and acks each with `sinew inbox ack` when it is done; what is not acked is handed out
/// again after 5 minutes. `sinew inbox history` shows all messages, and takes nothing away.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew inbox read
  sinew inbox read --role ceo --follow --json
  sinew inbox read --role cto --limit 1 --no-ack --json")]
pub(crate) struct Args {
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = INBOX_TAKE, value_parser = number_to::<{ INBOX_TAKE }>)]
    limit: usize,
    /// Leave the messages to be acked with `sinew inbox ack`
    #[arg(long)]
    no_ack: bool,
    /// Go on with what comes
    #[arg(long, conflicts_with = "limit")]
    follow: bool,
}

/// Prints the messages.
///
/// # Errors
/// When they can't be read.
pub(super) async fn run(args: &Args, global: &Global, out: Out) -> anyhow::Result<Code> {
    let client = Target::find(global)?.client().await?;
    if args.follow {
        return follow(&client, args, out).await;
    }
    let mut taken = client.inbox().take(args.limit).await?.into_iter();
    if taken.len() == 0 {
        let open = client.inbox().unread().await?.open;
        let more = match open {
            0 => String::new(),
            open => format!("; {open} more are read and not acked"),
        };
        out.note(format_args!("the inbox of {} has nothing unread{more}", client.role()));
    }
    while let Some(received) = taken.next() {
        if let Err(error) = print(received, args, out).await {
            // Nobody has seen the rest.
            for left in taken {
                if let Received::Mail(letter) = left {
                    letter.nak(None).await?;
                }
            }
            return Err(error);
        }
    }
    Ok(Code::Done)
}

async fn follow(client: &Client, args: &Args, out: Out) -> anyhow::Result<Code> {
    let stop = signals::listen()?;
    let mut reader = client.inbox().open(1).await?;
    let ended = loop {
        let received = tokio::select! {
            received = reader.next() => received?,
            () = stop.gently.cancelled() => break Ok(Code::Done),
        };
        if let Err(error) = print(received, args, out).await {
            break Err(error);
        }
    };
    reader.stop().await;
    ended
}

/// Prints a message, and then acks it: one that could not be printed is not lost.
async fn print(received: Received, args: &Args, out: Out) -> anyhow::Result<()> {
    let letter: Box<Letter> = match received {
        Received::Mail(letter) => letter,
        Received::Unreadable { seq, why } => {
            out.note(format_args!("message {seq} is passed over: {why}"));
            return Ok(());
        }
        Received::Refused { seq, claimed, verdict } => {
            out.note(format_args!(
                "message {seq}, said to be from {claimed}, is refused: {verdict}; `sinew evidence` \
                 shows it"
            ));
            return Ok(());
        }
    };
    let shown = Shown::of(letter.mail(), letter.verdict());
    if let Err(error) = out.either(&shown, line_with_id(&shown)) {
        letter.nak(None).await?;
        return Err(error);
    }
    if args.no_ack {
        let _ack = letter.leave_open();
    } else {
        letter.ack().await?;
    }
    Ok(())
}

//! How long a message takes from who sends it to who reads it, when nothing else goes on: from inbox to
//! reader by Sinew, and from publish to subscriber by the bare client, through the same stream.

use anyhow::{Context as _, Result, bail};
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use bytes::Bytes;
use futures::StreamExt as _;
use serde_json::{Value, json};
use sinew_agent::{
    Client, Inbox, Message, Received,
    inbox::read::Reader,
    model::{Band, limits::INBOX_TAKE, stream::AGENT_MAIL},
};
use sinew_bus::clock;
use tokio::time::Instant;

use super::{
    Pace, bare,
    latency::EVENT_BYTES,
    place::{Place, role},
    records::CALLER,
    report::{Figure, Line},
    sample::{Sample, Spans, figure_of, take_turns},
};

/// Whose inbox Sinew reads.
const READER: &str = "mail-reader";

/// Whose inbox the bare client reads.
const BARE_READER: &str = "mail-bare-reader";

#[derive(Clone, Copy)]
enum Way {
    Sinew,
    Bare,
}

pub(super) async fn measure(place: &Place, pace: Pace) -> Result<Vec<Figure>> {
    let inbox = Inbox::of(place.worker.bus.clone(), role(READER)?);
    let mut ends = Ends {
        place,
        client: Client::new(place.caller.bus.clone(), role(CALLER)?),
        reader: inbox.open(INBOX_TAKE).await?,
        messages: subscribe(place).await?,
    };
    let rounds = take_turns(pace.rounds, &[Way::Sinew, Way::Bare], async |way| {
        place.clear().await?;
        Ok(vec![ends.round(way, pace.operations).await?])
    });
    let rounds = rounds.await?;
    ends.reader.stop().await;
    let of = |way| figure_of(&rounds, way, 0);
    let (sinew, bare) = (of(0)?, of(1)?);
    let figure = Figure::latency("message to delivery, one at a time, 512 B, idle reader")
        .line(Line::new("Sinew: send to a reader of the inbox", sinew).against("bare", bare))
        .line(Line::new("bare: publish to a subscriber of the stream", bare));
    Ok(vec![figure])
}

/// A consumer of the bare client, which acks as Sinew does.
async fn subscribe(place: &Place) -> Result<pull::Stream> {
    let config = pull::Config {
        durable_name: Some(BARE_READER.to_owned()),
        filter_subject: place.worker.bus.subjects().inbox(&role(BARE_READER)?).into(),
        deliver_policy: DeliverPolicy::All,
        ..pull::Config::default()
    };
    let stream = place.worker.bare.get_stream(AGENT_MAIL).await?;
    Ok(stream.create_consumer(config).await?.messages().await?)
}

struct Ends<'a> {
    place: &'a Place,
    client: Client,
    reader: Reader,
    messages: pull::Stream,
}

impl Ends<'_> {
    async fn round(&mut self, way: Way, operations: usize) -> Result<Sample> {
        let mut spans = Spans::new()?;
        let since = clock::instant();
        for _ in 0..operations {
            let at = clock::instant();
            let came = match way {
                Way::Sinew => self.sinew().await?,
                Way::Bare => self.bare().await?,
            };
            spans.add(came.duration_since(at));
        }
        Ok(spans.sample(since.elapsed()))
    }

    /// Sends and reads at once, as two processes would; gives when it was read.
    async fn sinew(&mut self) -> Result<Instant> {
        let message = Message::new(role(READER)?, body());
        let reader = &mut self.reader;
        let read = async {
            let received = reader.next().await?;
            let at = clock::instant();
            let Received::Mail(letter) = received else { bail!("another message came") };
            letter.ack().await?;
            Ok(at)
        };
        let send = async { self.client.send(message).await.map_err(anyhow::Error::from) };
        let (sent, read) = tokio::join!(send, read);
        sent.and(read)
    }

    /// The same message, by the bare client.
    async fn bare(&mut self) -> Result<Instant> {
        let to = role(BARE_READER)?;
        let caller = &self.place.caller;
        let subject = caller.bus.subjects().inbox_of(&to, Band::Normal);
        let id = clock::unique();
        let mail = json!({ "id": id, "type": "message", "from": CALLER, "to": to,
                           "at": clock::now(), "body": body() });
        let body = Bytes::from(mail.to_string());
        let messages = &mut self.messages;
        let read = async {
            let message = messages.next().await.context("no delivery")??;
            let at = clock::instant();
            message.double_ack().await.map_err(|error| anyhow::anyhow!(error))?;
            Ok(at)
        };
        let send = bare::publish(caller, (AGENT_MAIL, subject.as_str(), &id), None, body);
        let (sent, read) = tokio::join!(send, read);
        sent.and(read)
    }
}

fn body() -> Value {
    json!({ "text": "x".repeat(EVENT_BYTES) })
}

//! What a consumer has to hand out now, and no waiting: for a look into an inbox.

use sinew_model::limits::REQUEST_TIMEOUT;

use super::pull::{Patience, Status, Target};
use crate::{
    clock,
    connect::Bus,
    delivery::{Delivery, Ender, Meta},
    request::RequestError,
};

impl Bus {
    /// Takes at most `batch` messages that a consumer has to hand out now; fewer, or none, where
    /// there are no more. Each must be ended by its holder.
    ///
    /// # Errors
    /// When the consumer could not be asked: [`RequestError::NoResponders`] where it is gone, or
    /// has no leader at the moment. What it handed out all the same comes again after its ack wait.
    pub async fn fetch(
        &self,
        stream: &str,
        consumer: &str,
        batch: usize,
    ) -> Result<Vec<Delivery>, RequestError> {
        let subject = || format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        let unsendable = |why| RequestError::Unsendable { subject: subject(), why };
        let target = Target::new(0, stream, consumer);
        let mut replies = target.ask(self, batch, Patience::Now).await.map_err(unsendable)?;
        let ender = Ender::start(self);
        let end = clock::instant() + REQUEST_TIMEOUT;
        let mut taken = Vec::new();
        while taken.len() < batch {
            let next = tokio::time::timeout_at(end, futures::StreamExt::next(&mut replies)).await;
            let message = match next {
                Ok(Some(message)) => message,
                // What has come is as good as any other delivery.
                Ok(None) | Err(_) if !taken.is_empty() => break,
                Ok(None) | Err(_) => {
                    return Err(RequestError::Unknown {
                        subject: subject(),
                        after: REQUEST_TIMEOUT,
                    });
                }
            };
            if let Some(status) = message.status {
                let words = message.description.as_deref().unwrap_or_default();
                match Status::of(status.as_u16(), words) {
                    Status::Heartbeat => continue,
                    Status::Empty | Status::Expired => break,
                    // It hands out no more for now; what it holds back is with others.
                    Status::Later(why) if !taken.is_empty() || why.contains("MaxAckPending") => {
                        tracing::debug!(consumer, why, "a look ended early");
                        break;
                    }
                    Status::NoResponders | Status::Gone if taken.is_empty() => {
                        return Err(RequestError::NoResponders { subject: subject() });
                    }
                    Status::NoResponders | Status::Gone => break,
                    Status::Later(why) => return Err(unsendable(why)),
                    Status::AtMost(most) => {
                        return Err(unsendable(format!("it hands out at most {most} at a time")));
                    }
                }
            }
            let Some(meta) = message.reply.as_ref().and_then(|it| Meta::parse(it).ok()) else {
                tracing::warn!(subject = %message.subject, "a message on a pull is no delivery");
                continue;
            };
            taken.push(Delivery::new(message, meta, self.clone(), ender.clone()));
        }
        Ok(taken)
    }
}

//! Leases among controllers, as records of the stream `SYSTEM`: read, and written in the place of a
//! known one. When to do either is [`sinew_model::lease`]'s to say.

use sinew_model::{
    lease::{LeaseName, LeaseRecord},
    limits::LEASE_TTL,
    stream::SYSTEM,
};

use crate::{Bus, Outgoing, PublishError, RequestError, clock, object::ROLLUP};

impl Bus {
    /// The newest record of a lease with its sequence; 0 and `None` where there is none. One that
    /// can't be read stands in nobody's way.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn lease(&self, name: LeaseName) -> Result<(u64, Option<LeaseRecord>), RequestError> {
        let subject = self.subjects().lease(name);
        let last = self.last(SYSTEM, subject.as_str()).await?;
        Ok(last.map_or((0, None), |last| {
            let record = serde_json::from_slice(&last.payload);
            let record =
                record.inspect_err(|error| tracing::warn!(%error, "a lease is not readable"));
            (last.seq, record.ok())
        }))
    }

    /// Writes a record in the place of the one at `expect`, and gives its sequence.
    ///
    /// # Errors
    /// See [`PublishError`]: a conflict where another record is there.
    pub async fn write_lease(
        &self,
        name: LeaseName,
        expect: u64,
        record: &LeaseRecord,
    ) -> Result<u64, PublishError> {
        let subject = self.subjects().lease(name);
        let body = serde_json::to_vec(record).unwrap_or_default();
        let out = Outgoing::new(SYSTEM, subject.clone(), body)
            .id(clock::unique())
            .expecting(&subject, expect)
            .header(ROLLUP, "sub")
            // A later answer would be of no use: another one may hold it by then.
            .patience(LEASE_TTL / 2);
        self.publish(out).await.map(|accepted| accepted.seq)
    }
}

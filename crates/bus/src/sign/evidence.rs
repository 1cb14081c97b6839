//! Keeps what was refused. A record that can't be kept holds nobody up: the refusal stands.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Map;
use sinew_model::{
    Role,
    evidence::Evidence,
    grant::User,
    limits::{EVIDENCE_BYTES, EVIDENCE_TRIES, SIGNATURE_BYTES, head},
    signature::{Speaker, Verdict},
    stream::ORG_EVIDENCE,
};

use super::Received;
use crate::{
    clock,
    connect::Bus,
    ensure::Topology,
    publish::{Outgoing, PublishError},
};

impl Bus {
    /// Keeps a record of a message that was refused: where it lay, what it claimed, its bytes. The
    /// same message leaves one record, however many find it.
    pub async fn keep_evidence(
        &self,
        (stream, it): (&str, &Received<'_>),
        found_by: &Role,
        (verdict, claimed): (&Verdict, Option<&Role>),
    ) {
        let (seq, reason) = (it.seq, verdict.to_string());
        if !self.signs().senders().report(stream, seq) {
            return;
        }
        tracing::warn!(stream, seq, subject = it.subject, reason, "a message is refused");
        // Who only looks on changes nothing.
        if self.identity().signs_as.is_some_and(|(user, _)| user == User::Observer) {
            return;
        }
        let record = Evidence {
            at: clock::now(),
            org_id: self.subjects().org().clone(),
            found_by: found_by.clone(),
            stream: stream.to_owned(),
            seq,
            stored_at: it.stored,
            subject: it.subject.to_owned(),
            verdict: verdict.word().to_owned(),
            reason,
            claimed: claimed.cloned(),
            signature: it.signature.map(|text| head(text, SIGNATURE_BYTES).to_owned()),
            bytes: u64::try_from(it.body.len()).unwrap_or(u64::MAX),
            body: STANDARD.encode(it.body.get(..EVIDENCE_BYTES).unwrap_or(it.body)),
            extra: Map::new(),
        };
        if let Err(why) = Box::pin(self.keep(stream, &record)).await {
            tracing::error!(stream, seq, why, "the record of a refused message could not be kept");
        }
    }

    async fn keep(&self, stream: &str, record: &Evidence) -> Result<(), String> {
        let body = serde_json::to_vec(record).map_err(|error| error.to_string())?;
        let by = Speaker { role: Some(record.found_by.clone()), instance: None };
        let subject = self.subjects().evidence(stream, record.seq);
        let out = Outgoing::new(ORG_EVIDENCE, subject.clone(), body)
            .id(clock::unique())
            .expecting(&subject, 0)
            .by(by);
        let mut why = String::new();
        for _ in 0..EVIDENCE_TRIES {
            match self.publish(out.clone()).await {
                // Somebody else has found it as well.
                Ok(_) | Err(PublishError::Conflict { .. }) => return Ok(()),
                Err(error) => why = error.to_string(),
            }
            let topology = Topology::standard(self);
            if let Err(error) = topology.ensure_stream(self, ORG_EVIDENCE).await {
                why = error.to_string();
            }
        }
        Err(why)
    }
}

//! Keeps what was refused. A record that can't be kept holds nobody up: the refusal stands.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Map;
use sinew_model::{
    Role, Subject,
    evidence::Evidence,
    grant::User,
    incident::Incident,
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
        let subject = self.subjects().evidence(stream, seq);
        let topology = Topology::standard(self);
        let kept = keep(self, &topology, (subject, found_by.clone()), &record);
        if let Err(why) = Box::pin(kept).await {
            tracing::error!(stream, seq, why, "the record of a refused message could not be kept");
        }
    }

    /// Keeps the record of an incident, said by the role `by`. One of the same kind and `id` leaves
    /// one record, however many find it; the id is one token of a subject.
    ///
    /// # Errors
    /// In words, when it could not be stored.
    pub async fn keep_incident(
        &self,
        topology: &Topology,
        (id, incident): (&str, &Incident),
        by: &str,
    ) -> Result<(), String> {
        let by: Role = by.parse().map_err(|error: sinew_model::IdError| error.to_string())?;
        let subject = self.subjects().incident(&incident.kind, id);
        keep(self, topology, (subject, by), incident).await
    }
}

async fn keep(
    bus: &Bus,
    topology: &Topology,
    (subject, by): (Subject, Role),
    record: &impl serde::Serialize,
) -> Result<(), String> {
    let body = serde_json::to_vec(record).map_err(|error| error.to_string())?;
    let out = Outgoing::new(ORG_EVIDENCE, subject.clone(), body)
        .id(clock::unique())
        .expecting(&subject, 0)
        .by(Speaker { role: Some(by), instance: None });
    let mut why = String::new();
    for _ in 0..EVIDENCE_TRIES {
        match bus.publish(out.clone()).await {
            // Somebody else has found it as well.
            Ok(_) | Err(PublishError::Conflict { .. }) => return Ok(()),
            Err(error) => why = error.to_string(),
        }
        if let Err(error) = topology.ensure_stream(bus, ORG_EVIDENCE).await {
            why = error.to_string();
        }
    }
    Err(why)
}

//! The wire contract for programs in other languages: a JSON Schema of each kind of body, and an
//! AsyncAPI document that says on which subject each of them flows and with which headers. All of
//! it is made from the types and the grammar of subjects, so it cannot say anything else.

mod asyncapi;

use schemars::{Schema, schema_for};
use serde::Serialize;

pub use asyncapi::asyncapi;

use crate::{
    card::Card,
    control::Control,
    event::Event,
    evidence::Evidence,
    health::Health,
    incident::Incident,
    mail::{Acknowledgement, Mail},
    meeting,
    presence::Heartbeat,
    scale::Signal,
    schedule::Schedule,
    task::{Assignment, Entry},
    team::Team,
};

/// Every kind of body by the name of its schema's file, without the ending.
#[must_use]
pub fn schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("acknowledgement", schema_for!(Acknowledgement)),
        ("assignment", schema_for!(Assignment)),
        ("card", schema_for!(Card)),
        ("control", schema_for!(Control)),
        ("entry", schema_for!(Entry)),
        ("event", schema_for!(Event)),
        ("evidence", schema_for!(Evidence)),
        ("health", schema_for!(Health)),
        ("heartbeat", schema_for!(Heartbeat)),
        ("incident", schema_for!(Incident)),
        ("mail", schema_for!(Mail)),
        ("meeting", schema_for!(meeting::Entry)),
        ("minutes", schema_for!(meeting::Minutes)),
        ("scaling", schema_for!(Signal)),
        ("schedule", schema_for!(Schedule)),
        // No message has this body: it is a file that people write.
        ("team", schema_for!(Team)),
    ]
}

/// The whole contract as files: their names in `docs/schemas`, and what is in them.
///
/// # Errors
/// When a document is no JSON, which none of them can be.
pub fn files() -> Result<Vec<(String, String)>, serde_json::Error> {
    let mut files = Vec::new();
    for (name, schema) in schemas() {
        files.push((format!("{name}.json"), text(&schema)?));
    }
    files.push(("asyncapi.json".to_owned(), text(&asyncapi())?));
    Ok(files)
}

fn text(document: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(document).map(|text| text + "\n")
}

#[cfg(test)]
mod tests;

//! The orgs of the data folder: for who runs the platform, and nobody else. It shows who is let in
//! and who was put out, and nothing of what an org does.

use maud::{Markup, html};
use serde_json::Value;
use sinew_bus::clock;
use sinew_model::{OrgId, Time};

use crate::{
    account::{EXPELLED, Orgs, Record},
    face::dashboard::{fault::Fault, gate::Visit, shell::Page, words},
};

/// Renders it.
pub(in crate::face::dashboard) async fn page(visit: &Visit) -> Result<Page, Fault> {
    let Some((context, orgs)) = visit.house.orgs_for(&visit.grant) else {
        return Err(Fault::Forbidden(
            "Only the operator of the platform sees its orgs.".to_owned(),
        ));
    };
    let records = match orgs.records() {
        Ok(records) => records,
        // A server with a password has one org, which is not written down.
        Err(error) => return Err(Fault::away("the records of the orgs", &error)),
    };
    let incidents = incidents(&orgs, &records);
    let body = html! {
        h1 { "Orgs" }
        p.lead { "Each org is an account of its own on the server: none can read or reach another." }
        div.scroll tabindex="0" role="region" aria-label="Orgs" {
            table {
                thead {
                    tr {
                        th scope="col" { "Org" }
                        th scope="col" { "Made" }
                        th.number scope="col" { "Connections" }
                        th.number scope="col" { "Storage" }
                        th.number scope="col" { "Signing keys" }
                        th scope="col" { "Let in" }
                    }
                }
                tbody { @for (org, record) in &records { (row(org, record, *org == context.org)) } }
            }
        }
        section aria-labelledby="incidents" {
            h2 #incidents { "Cut off" }
            @if incidents.is_empty() { p.mute { "Nobody was cut off." } }
            @else { ul.rows { @for it in &incidents { li { (incident(it)) } } } }
        }
    };
    Ok(Page::new("Orgs", body))
}

fn row(org: &OrgId, record: &Record, own: bool) -> Markup {
    let now = clock::now();
    let stands = |expires: Option<Time>| expires.is_none_or(|end| end > now);
    let users = record.users.iter();
    let users = users.filter(|it| !record.revoked.contains_key(&it.key) && stands(it.expires));
    let mut names: Vec<&str> = users.map(|it| it.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    html! {
        tr id=(format!("org-{org}")) {
            td { b { (org) } @if own { span.mute { " · this one" } } @if record.is_shut() { " " (words::badge("bad", "shut")) } }
            td { (words::time(record.made)) }
            td.number { (bounded(record.quota.connections, words::number_text)) }
            td.number { (bounded(record.quota.storage_bytes, bytes)) }
            td.number { (record.signing.len()) }
            td.wide { @if names.is_empty() { span.mute { "nobody" } } @else { (words::cut(&names.join(", "), 160)) } }
        }
    }
}

/// A quota; below zero there is none.
fn bounded(number: i64, shown: impl Fn(u64) -> String) -> String {
    u64::try_from(number).map_or_else(|_no_bound| "no limit".to_owned(), shown)
}

fn bytes(number: u64) -> String {
    let (unit, name) = if number >= 1 << 30 { (1 << 30, "GiB") } else { (1 << 20, "MiB") };
    format!("{} {name}", words::number_text(number / unit))
}

/// Who was put out, the newest first.
fn incidents(orgs: &Orgs, records: &[(OrgId, Record)]) -> Vec<Value> {
    let mut found: Vec<Value> = records
        .iter()
        // A history that can't be read is told of by `sinew org incidents`.
        .flat_map(|(org, _)| orgs.history(org).unwrap_or_default())
        .filter(|entry| word(entry, "/action") == EXPELLED)
        .collect();
    found.sort_by(|one, other| word(other, "/timestamp").cmp(word(one, "/timestamp")));
    found.truncate(sinew_model::limits::DASHBOARD_ROWS);
    found
}

fn word<'a>(entry: &'a Value, place: &str) -> &'a str {
    entry.pointer(place).and_then(Value::as_str).unwrap_or_default()
}

fn incident(it: &Value) -> Markup {
    html! {
        div.line { b { (word(it, "/orgId")) } code { (word(it, "/details/user/name")) } }
        p { (words::cut(word(it, "/details/found"), 200)) }
        p.mute { (word(it, "/timestamp")) }
    }
}

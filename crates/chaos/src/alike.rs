//! Whether the servers of a cluster hold the same, by what each says itself. That a server says it
//! is well is not enough: one that starts with an empty store knows of no stream at first, and is
//! well all the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What a server says of its streams.
pub(crate) const PAGE: &str = "/jsz?accounts=true&streams=true";

/// Streams of which every server has by now been seen to hold what the leader holds. Tasks go on
/// meanwhile, so a stream counts as soon as one look finds all its copies alike: none of them then
/// lacks what the leader had at that moment.
///
/// The servers are asked one after another, so a stream that grows all the time is never seen
/// alike. [`Alike::under_load`] therefore also counts one whose copies have all gone past what any
/// of them held at the first look.
#[derive(Debug)]
pub(crate) struct Alike {
    seen: BTreeSet<String>,
    goals: Option<BTreeMap<String, u64>>,
}

impl Alike {
    /// While work goes on: copies that have caught up with the first look will do.
    pub(crate) const fn under_load() -> Self {
        Self { seen: BTreeSet::new(), goals: Some(BTreeMap::new()) }
    }

    /// At rest: the copies have to be the same.
    pub(crate) const fn at_rest() -> Self {
        Self { seen: BTreeSet::new(), goals: None }
    }

    /// Looks once, at the pages of all servers by their names.
    ///
    /// # Errors
    /// The streams that were never seen alike, with what each server holds of them.
    pub(crate) fn look(&mut self, pages: &BTreeMap<String, Value>) -> Result<(), String> {
        let copies: BTreeMap<&str, BTreeMap<&str, &Value>> =
            pages.iter().map(|(node, page)| (node.as_str(), streams(page))).collect();
        let names: BTreeSet<&str> = copies
            .values()
            .flat_map(BTreeMap::keys)
            .copied()
            .filter(|it| !self.seen.contains(*it))
            .collect();
        let mut apart = Vec::new();
        for name in names {
            let of_stream = copies
                .iter()
                .filter_map(|(node, held)| Some((*node, *held.get(name)?)))
                .collect::<BTreeMap<_, _>>();
            match are_alike(&of_stream) {
                Err(why) if !self.has_caught_up(name, &of_stream, pages.len()) => {
                    apart.push(format!("{name}: {why}"));
                }
                Ok(()) | Err(_) => {
                    self.seen.insert(name.to_owned());
                }
            }
        }
        if self.seen.is_empty() && apart.is_empty() {
            return Err("no server knows of any stream".to_owned());
        }
        if apart.is_empty() { Ok(()) } else { Err(apart.join("; ")) }
    }

    /// Whether every server has gone past what the furthest held when this was first asked.
    fn has_caught_up(
        &mut self,
        name: &str,
        copies: &BTreeMap<&str, &Value>,
        servers: usize,
    ) -> bool {
        let Some(goals) = &mut self.goals else { return false };
        let reached = || copies.values().map(|copy| state(copy, "last_seq"));
        let Some(goal) = goals.get(name) else {
            goals.insert(name.to_owned(), reached().max().unwrap_or_default());
            return false;
        };
        copies.len() == servers && reached().all(|last| last > *goal)
    }
}

/// The streams of a page, by name. All of a run are in one account.
fn streams(page: &Value) -> BTreeMap<&str, &Value> {
    let accounts = page.get("account_details").and_then(Value::as_array).into_iter().flatten();
    let streams = accounts.filter_map(|one| one.get("stream_detail")?.as_array()).flatten();
    streams.filter_map(|stream| Some((stream.get("name")?.as_str()?, stream))).collect()
}

/// Whether the copies of one stream, by server, are what their leader says: as many as it has
/// replicas, each current, and all with the same first and last sequence and count.
fn are_alike(copies: &BTreeMap<&str, &Value>) -> Result<(), String> {
    let shown: Vec<String> =
        copies.iter().map(|(node, copy)| format!("{node} {}", held(copy))).collect();
    let shown = shown.join(", ");
    let cluster = |copy: &Value| copy.get("cluster").cloned().unwrap_or_default();
    let leads = |(node, copy): &(&&str, &&Value)| {
        cluster(copy).get("leader").and_then(Value::as_str) == Some(**node)
    };
    let Some((leader, copy)) = copies.iter().find(leads) else {
        return Err(format!("none of them leads: {shown}"));
    };
    let cluster = cluster(copy);
    let replicas = cluster.get("replicas").and_then(Value::as_array).into_iter().flatten();
    for replica in replicas {
        let name = replica.get("name").and_then(Value::as_str).unwrap_or_default();
        let lag = replica.get("lag").and_then(Value::as_u64).unwrap_or_default();
        if replica.get("current").and_then(Value::as_bool) != Some(true) || lag > 0 {
            return Err(format!("its leader says that {name} lags by {lag}: {shown}"));
        }
        if copies.get(name).map(|copy| held(copy)) != Some(held(copy)) {
            return Err(format!("{name} holds other things than the leader {leader}: {shown}"));
        }
    }
    Ok(())
}

/// What a server holds of a stream, in words that are the same where it is the same.
fn held(copy: &Value) -> String {
    let number = |name| state(copy, name);
    format!("{} from {} to {}", number("messages"), number("first_seq"), number("last_seq"))
}

/// One number of what a server holds of a stream.
fn state(copy: &Value, name: &str) -> u64 {
    copy.get("state").and_then(|state| state.get(name)).and_then(Value::as_u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pages(holds: &[(&str, u64, u64, u64)], lag: u64) -> BTreeMap<String, Value> {
        let page = |(node, messages, first, last): &(&str, u64, u64, u64)| {
            let replicas: Vec<Value> = ["n1", "n2"]
                .iter()
                .filter(|other| *other != node)
                .map(|name| json!({ "name": name, "current": lag == 0, "lag": lag }))
                .collect();
            let stream = json!({
                "name": "ORG_EVENTS",
                "cluster": { "leader": "n1", "replicas": replicas },
                "state": { "messages": messages, "first_seq": first, "last_seq": last },
            });
            let page = json!({ "account_details": [{ "stream_detail": [stream] }] });
            ((*node).to_owned(), page)
        };
        holds.iter().map(page).collect()
    }

    #[test]
    fn copies_are_alike_where_all_three_numbers_are() {
        let look = |holds: &[_], lag| Alike::at_rest().look(&pages(holds, lag));
        assert_eq!(look(&[("n1", 5, 1, 5), ("n2", 5, 1, 5)], 0), Ok(()));
        for other in [("n2", 4, 1, 5), ("n2", 5, 2, 5), ("n2", 5, 1, 6)] {
            let apart = look(&[("n1", 5, 1, 5), other], 0).unwrap_err();
            assert!(apart.contains("ORG_EVENTS: n2 holds other things"), "{apart}");
        }
        assert!(look(&[("n1", 5, 1, 5), ("n2", 5, 1, 5)], 3).unwrap_err().contains("lags by 3"));
    }

    #[test]
    fn under_load_it_is_enough_to_have_gone_past_the_first_look() {
        let mut alike = Alike::under_load();
        assert!(alike.look(&pages(&[("n1", 5, 1, 5), ("n2", 3, 1, 3)], 0)).is_err());
        assert!(alike.look(&pages(&[("n1", 9, 1, 9), ("n2", 5, 1, 5)], 0)).is_err());
        let mut lacking = pages(&[("n1", 9, 1, 9)], 0);
        lacking.insert("n2".to_owned(), json!({}));
        assert!(alike.look(&lacking).is_err());
        assert_eq!(alike.look(&pages(&[("n1", 9, 1, 9), ("n2", 6, 1, 6)], 0)), Ok(()));
        let mut strict = Alike::at_rest();
        for _ in 0..2 {
            assert!(strict.look(&pages(&[("n1", 9, 1, 9), ("n2", 6, 1, 6)], 0)).is_err());
        }
    }

    #[test]
    fn a_server_that_knows_of_no_stream_lacks_it() {
        let apart = Alike::at_rest().look(&pages(&[("n1", 5, 1, 5)], 0)).unwrap_err();
        assert!(apart.contains("n2 holds other things"), "{apart}");
        let apart = Alike::at_rest().look(&pages(&[("n2", 5, 1, 5)], 0)).unwrap_err();
        assert!(apart.contains("none of them leads"), "{apart}");
        assert!(Alike::at_rest().look(&BTreeMap::new()).is_err());
    }

    #[test]
    fn a_stream_counts_from_the_first_look_that_finds_it_alike() {
        let mut alike = Alike::at_rest();
        assert_eq!(alike.look(&pages(&[("n1", 5, 1, 5), ("n2", 5, 1, 5)], 0)), Ok(()));
        assert_eq!(alike.look(&pages(&[("n1", 6, 1, 6), ("n2", 5, 1, 5)], 0)), Ok(()));
    }
}

//! Compares what is wanted with what a server has. Only wanted fields are looked at.

use serde::Serialize;
use serde_json::{Map, Value};

/// The field of a configuration that says on how many servers it is kept.
pub(super) const REPLICAS_FIELD: &str = "num_replicas";

/// One field that is not as it is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The field, as the JetStream API calls it.
    pub field: String,
    /// What it is to be.
    pub wanted: Value,
    /// What it is; null where the server has nothing there.
    pub found: Value,
    /// Whether it can be mended.
    pub change: Change,
}

/// Whether a difference can be mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// Yes, while all goes on.
    InPlace,
    /// Yes, but messages that are stored now would be deleted.
    DeletesMessages,
    /// No: it would have to be deleted and made anew.
    Impossible,
}

/// The wanted fields that differ; `change` says of each whether it can be mended.
pub(super) fn compare(
    wanted: &Map<String, Value>,
    found: &Map<String, Value>,
    change: impl Fn(&str) -> Change,
) -> Vec<Difference> {
    let differing = wanted.iter().filter_map(|(field, wanted)| {
        let found = found.get(field).unwrap_or(&Value::Null);
        (!same(wanted, found)).then(|| Difference {
            field: field.clone(),
            wanted: wanted.clone(),
            found: found.clone(),
            change: change(field),
        })
    });
    differing.collect()
}

/// Whether what was found is what is wanted, whatever else it has. The server leaves out what is
/// false, zero or empty, and the order of subjects means nothing.
fn same(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted
            .iter()
            .all(|(field, value)| same(value, found.get(field).unwrap_or(&Value::Null))),
        (Value::Array(wanted), Value::Array(found)) => {
            wanted.len() == found.len()
                && wanted.iter().all(|one| found.iter().any(|other| same(one, other)))
        }
        (wanted, Value::Null) => is_nothing(wanted),
        (wanted, found) => wanted == found,
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.is_empty(),
    }
}

/// What the server has, with the wanted values of all fields but those that are `left` as they
/// are. What nobody wants is kept, whoever set it.
pub(super) fn merged(
    found: &Map<String, Value>,
    wanted: &Map<String, Value>,
    left: &[Difference],
) -> Map<String, Value> {
    let mut config = found.clone();
    for (field, value) in wanted {
        if !left.iter().any(|difference| &difference.field == field) {
            config.insert(field.clone(), value.clone());
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_wanted_is_compared() {
        let check = |wanted, found, expect| {
            assert_eq!(same(&wanted, &found), expect, "{wanted} and {found}");
        };
        check(json!({"a": 1}), json!({"a": 1, "later": true}), true);
        check(json!({"a": 1}), json!({"a": 2}), false);
        check(json!({"a": false, "b": [], "c": 0, "d": ""}), json!({}), true);
        check(json!({"a": true}), json!({}), false);
        check(json!({"a": -1}), json!({}), false);
        check(json!(["x", "y"]), json!(["y", "x"]), true);
        check(json!(["x"]), json!(["x", "y"]), false);
        check(json!([{"name": "A"}]), json!([{"name": "A", "external": null}]), true);
        check(json!([{"name": "A"}]), json!([{"name": "B"}]), false);
        check(json!([]), json!(["x"]), false);
    }

    #[test]
    fn an_update_keeps_what_nobody_asked_about() {
        let map = |value: Value| value.as_object().unwrap().clone();
        let wanted = map(json!({"a": 1, "b": 1}));
        let found = map(json!({"a": 2, "b": 2, "metadata": {"team": "x"}}));
        let left = compare(&wanted, &found, |_| Change::Impossible);
        assert_eq!(merged(&found, &wanted, &left), found);
        let config = merged(&found, &wanted, &left[..1]);
        assert_eq!(Value::Object(config), json!({"a": 2, "b": 1, "metadata": {"team": "x"}}));
    }
}

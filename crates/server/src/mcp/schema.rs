//! JSON Schemas of what tools take and give.

use std::sync::Arc;

use rmcp::model::JsonObject;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

/// The schema of what a tool takes.
pub(crate) fn taken<T: JsonSchema>() -> Arc<JsonObject> {
    of::<T>(SchemaSettings::draft2020_12().for_deserialize())
}

/// The schema of what a tool gives: what it may leave out is not required there, or a host that
/// checks results refuses those without it.
pub(crate) fn given<T: JsonSchema>() -> Arc<JsonObject> {
    of::<T>(SchemaSettings::draft2020_12().for_serialize())
}

/// The schema of a type. What it takes from others is written into it, because some hosts do not
/// follow references.
fn of<T: JsonSchema>(mut settings: SchemaSettings) -> Arc<JsonObject> {
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let schema = settings.into_generator().into_root_schema_for::<T>();
    // The schema of a type that is an object is one as well.
    let mut schema = match Value::from(schema) {
        Value::Object(schema) => schema,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            JsonObject::new()
        }
    };
    // An object without fields is taken for one by every host only if it says so.
    schema.entry("type").or_insert_with(|| "object".into());
    schema.entry("properties").or_insert_with(|| Value::Object(JsonObject::new()));
    schema.remove("title");
    Arc::new(schema)
}

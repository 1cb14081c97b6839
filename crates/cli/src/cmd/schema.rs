//! `sinew schema`: the contract on the wire, for programs in other languages.

use sinew_model::schema::{asyncapi, schemas};

use crate::{
    exit::{Code, Fault},
    output::Out,
};

/// The contract for programs in other languages: JSON Schemas and an AsyncAPI document.
///
/// It says what flows on which subject. Needs no backbone.
#[derive(Clone, Debug, clap::Args)]
#[command(after_long_help = "Examples:
  sinew schema --list
  sinew schema assignment
  sinew schema --asyncapi")]
pub(crate) struct Args {
    /// The schema to print
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print the names of the schemas
    #[arg(long, conflicts_with_all = ["name", "asyncapi"])]
    list: bool,
    /// Print the AsyncAPI document: the subjects, and what flows on them
    #[arg(long, conflicts_with = "name")]
    asyncapi: bool,
}

/// Prints what was asked for.
///
/// # Errors
/// When there is no such schema.
pub(crate) fn run(args: &Args, out: Out) -> anyhow::Result<Code> {
    let known = schemas();
    let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
    if args.list {
        out.either(&names, names.join("\n"))?;
    } else if args.asyncapi {
        let document = asyncapi();
        out.either(&document, serde_json::to_string_pretty(&document)?)?;
    } else if let Some(name) = &args.name {
        let schema = known.iter().find(|(known, _)| known == name).map(|(_, schema)| schema);
        let schema = schema.ok_or_else(|| {
            Fault::not_found(format!("there is no schema {name:?}"))
                .hint(format!("there are {}", names.join(", ")))
        })?;
        out.either(schema, serde_json::to_string_pretty(schema)?)?;
    } else {
        return Err(Fault::usage("which schema?")
            .hint(format!("there are {}; or say --list or --asyncapi", names.join(", ")))
            .into());
    }
    Ok(Code::Done)
}

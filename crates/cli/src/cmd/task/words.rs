//! What is said on the command line, in a file, or on stdin: JSON, or words that need not be.

use std::io::Read as _;

use serde_json::Value;
use sinew_model::limits::LARGE_BODY_BYTES;

use crate::exit::Fault;

/// What `what` says: JSON, `@FILE` with JSON, or `-` for JSON on stdin. No more than a task may have
/// is ever read.
///
/// # Errors
/// When it can't be read, is too large, or no JSON.
pub(crate) fn json(what: &str, said: &str) -> Result<Value, Fault> {
    let text = read(what, said)?;
    serde_json::from_str(&text).map_err(|error| {
        Fault::usage(format!("{what} is no JSON: {error}"))
            .hint("a text is JSON in quotation marks: --input '\"text\"'")
    })
}

/// The same, where what is no JSON is a text.
///
/// # Errors
/// When it can't be read, or is too large.
pub(super) fn json_or_text(what: &str, said: &str) -> Result<Value, Fault> {
    let text = read(what, said)?;
    Ok(serde_json::from_str(&text).unwrap_or_else(|_is_text| text.trim_end().into()))
}

/// A text of any number of lines, or `-` for the text on stdin. A text may begin with `@`, as when
/// somebody is spoken to.
///
/// # Errors
/// When stdin can't be read.
pub(crate) fn text(what: &str, said: &str) -> Result<String, Fault> {
    if said == "-" { read(what, said) } else { Ok(said.to_owned()) }
}

fn read(what: &str, said: &str) -> Result<String, Fault> {
    let most = u64::try_from(LARGE_BODY_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut text = String::new();
    let from = |error: std::io::Error, name: &str| Fault::usage(format!("{name}: {error}"));
    match said.strip_prefix('@') {
        Some(path) => {
            let file = std::fs::File::open(path).map_err(|error| from(error, path))?;
            file.take(most).read_to_string(&mut text).map_err(|error| from(error, path))?;
        }
        None if said == "-" => {
            let stdin = std::io::stdin().lock().take(most);
            { stdin }.read_to_string(&mut text).map_err(|error| from(error, "stdin"))?;
        }
        None => said.clone_into(&mut text),
    }
    if text.len() > LARGE_BODY_BYTES {
        return Err(Fault::usage(format!("{what} is over the limit of {LARGE_BODY_BYTES} bytes"))
            .hint("put it where the agent can read it, and name the place"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn input_is_json_or_a_file_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        std::fs::write(&path, "{\"a\":1}").unwrap();
        let read = |said: &str| json("the input", said);
        assert_eq!(read(&format!("@{}", path.display())).unwrap(), json!({ "a": 1 }));
        assert_eq!(read("[1]").unwrap(), json!([1]));
        assert!(read("text").is_err());
        assert!(read("@/no/such").is_err());
        assert!(read(&format!("\"{}\"", "x".repeat(LARGE_BODY_BYTES))).is_err());
    }

    #[test]
    fn words_need_not_be_json() {
        let read = |said: &str| json_or_text("the evidence", said).unwrap();
        assert_eq!(read("ran the tests"), json!("ran the tests"));
        assert_eq!(read("{\"tests\":12}"), json!({ "tests": 12 }));
        assert!(json_or_text("the evidence", "@/no/such").is_err());
    }
}

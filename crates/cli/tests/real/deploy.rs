//! What is shipped for deploying: the chart, the units of systemd, completions and manual pages.
//! Each is held against the program that reads it.

use std::{path::Path, process::Command};

use sinew_testkit::{Python, TempDir, install};

use crate::kit::{Backbone, LONG, Place, SINEW};

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy");

#[test]
fn the_chart_renders_objects_that_kubernetes_knows_and_commands_that_sinew_reads() {
    let helm = install::helm();
    let told = Python::script("crates/cli/tests/real/deploy.py")
        .env("PYTHONPATH", &helm)
        .arg(helm.join("bin/helm"))
        .arg(Path::new(DEPLOY).join("helm/sinew"))
        .arg(SINEW)
        .timeout(LONG * 4)
        .run_blocking();
    assert!(told.success().contains("the chart is sound"));
}

/// Where there is no systemd there is nobody to ask; the units are for machines that have it.
#[test]
fn systemd_reads_the_units() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return;
    }
    let folder = TempDir::new("units");
    for (unit, as_named) in [
        ("sinew-server.service", "sinew-server.service"),
        ("sinew-agent@.service", "sinew-agent@cto.service"),
    ] {
        let text = std::fs::read_to_string(Path::new(DEPLOY).join("systemd").join(unit)).unwrap();
        // It asks whether the program is there, and sinew is not installed here.
        assert!(text.contains("ExecStart=/usr/bin/sinew "), "{text}");
        let path = folder.join(as_named);
        std::fs::write(&path, text.replace("=/usr/bin/sinew ", &format!("={SINEW} "))).unwrap();
        let said = Command::new("systemd-analyze")
            .args(["verify", "--man=no", "--recursive-errors=no"])
            .arg(&path)
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success() && !words.contains(as_named), "{words}");
    }
}

#[test]
fn a_shell_reads_the_completions_and_completes_a_verb() {
    let place = Place::new();
    let script = place.get(&["completions", "bash"]);
    let path = place.path("sinew.bash");
    std::fs::write(&path, script).unwrap();
    let ask = format!(
        "source {}; COMP_WORDS=(sinew task dele); COMP_CWORD=2; _sinew sinew dele task; \
         echo \"${{COMPREPLY[@]}}\"",
        path.display()
    );
    let said = Command::new("bash").args(["-c", &ask]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "delegate", "{said:?}");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(place.get(&["completions", shell]).contains("delegate"), "{shell}");
    }
}

#[test]
fn every_verb_has_a_manual_page() {
    let place = Place::new();
    let folder = place.path("man");
    place.get(&["man", folder.to_str().unwrap()]);
    for page in ["sinew.1", "sinew-task-delegate.1", "sinew-server.1", "sinew-agent-run.1"] {
        let text = std::fs::read_to_string(folder.join(page)).unwrap();
        assert!(text.contains(".TH") && text.contains("SYNOPSIS"), "{page}: {text}");
    }
}

#[test]
fn controllers_and_agents_of_other_machines_are_let_in_by_a_file_each() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    place.get(&["org", "add", "globex"]);
    place.get(&["org", "creds", "globex", "--server", "-o", "server.creds"]);
    place.get(&["org", "creds", "globex", "--role", "cto", "-o", "cto.creds"]);
    let ready: serde_json::Value = serde_json::from_str(&backbone.up.out()).unwrap();
    let there = [
        ["--url", ready["url"].as_str().unwrap()],
        ["--org", "globex"],
        ["--signatures", "accept-unsigned"],
    ]
    .concat();

    let args = ["--creds", "server.creds", "server", "--data-dir", "elsewhere", "--json"];
    let server = place.start("server", &[&there[..], &args].concat());
    server.until_says("\"ready\"");
    let args = ["--creds", "cto.creds", "agent", "run", "--role", "cto", "--", "cat"];
    let agent = place.start("agent", &[&there[..], &args].concat());
    agent.until_says("takes the tasks");
    let args = ["--creds", "cto.creds", "task", "delegate", "cto", "Work", "--wait", "--json"];
    let ended: serde_json::Value =
        serde_json::from_str(place.get(&[&there[..], &args].concat()).lines().last().unwrap())
            .unwrap();
    assert_eq!(ended["end"], "completed", "{ended}");

    // What an agent holds lets nobody run the controllers.
    let args = ["--creds", "cto.creds", "server", "--data-dir", "third"];
    let refused = place.run(&[&there[..], &args].concat());
    assert_ne!(refused.code, Some(0), "{refused:?}");
    drop((server, agent));
}

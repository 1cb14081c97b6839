//! Encryption and signatures, as a person meets them.

use std::process::Command;

use serde_json::Value;
use sinew_testkit::{NatsServer, keys::Account};

use crate::kit::{Backbone, Done, Place};

/// A backbone that encrypts.
fn encrypted(mode: &str) -> Backbone {
    Backbone::with(Place::new(), &[&format!("--tls={mode}")])
}

#[test]
fn a_backbone_that_encrypts_is_found_by_its_context_and_its_agents_inherit_it() {
    let backbone = encrypted("mutual");
    let ready: Value = serde_json::from_str(&backbone.up.out()).unwrap();
    let ca = ready["tls"]["ca"].as_str().unwrap().to_owned();
    // The program delegates in its turn, with nothing but what it inherits.
    let script = "sinew task delegate writer Below > below; cat >/dev/null; echo done";
    let _agent = backbone.agent("cto", script, &[]);
    let id = backbone.place.get(&["task", "delegate", "cto", "Secret"]);
    backbone.until_phase(&id, "completed");
    let below = backbone.place.wait_for("below");
    assert_eq!(backbone.show(&below)["state"]["assignment"]["parent"], id.as_str());
    let other = backbone.place.write("other.pem", "no certificate");
    let wrong = |args: &[&str]| backbone.place.run(&[args, &["task", "list"]].concat());
    wrong(&["--tls-ca", &other]).says(2, "--tls-ca");
    let stranger = encrypted("server");
    let theirs = stranger.place.path(".sinew/tls/ca.pem").display().to_string();
    wrong(&["--tls-ca", &theirs]).says(5, "hint: name the server's authority with --tls-ca");
    // Without the context only the authority is known, and no certificate to show.
    let url = ready["url"].as_str().unwrap();
    let elsewhere = Place::new();
    let bare = elsewhere.run(&["--url", url, "--org", "acme", "--tls-ca", &ca, "task", "list"]);
    bare.says(5, "--tls-cert and --tls-key");
}

#[test]
fn what_is_signed_shows_its_sender_and_what_is_not_is_refused_where_that_is_asked_for() {
    let server = NatsServer::start();
    let (place, account) = (Place::new(), Account::new());
    let creds =
        |name: &str| account.user(name).save(place.path("").as_path()).display().to_string();
    let (ceo, cto, operator) = (creds("agent-ceo"), creds("agent-cto"), creds("operator"));
    let url = server.url();
    let bare = |args: &[&str]| {
        let mut command = place.command(args);
        command.env("SINEW_URL", &url).env("SINEW_ORG", "acme");
        command
    };
    let required = |creds: &str, args: &[&str]| {
        let mut command = bare(args);
        command.env("SINEW_SIGNATURES", "require").env("SINEW_CREDS", creds);
        command
    };
    let get = |mut command: Command| {
        let done = Done::of(&mut command);
        assert_eq!(done.code, Some(0), "{done:?}");
        done.out
    };
    get(required(&operator, &["topology", "apply"]));
    let run = ["agent", "run", "--role", "cto", "--", "sh", "-c", "cat > given"];
    let agent = place.start_with("agent", required(&cto, &run));
    agent.until_says("takes the tasks");
    get(bare(&["task", "delegate", "cto", "Unsigned"]));
    let delegate = ["--role", "ceo", "task", "delegate", "cto", "Signed", "--wait"];
    get(required(&ceo, &delegate));
    let given: Value = serde_json::from_str(&place.wait_for("given")).unwrap();
    assert_eq!((&given["title"], &given["delegatedBy"]), (&"Signed".into(), &"agent-ceo".into()));
    let inbox = get(required(&ceo, &["--role", "ceo", "inbox", "read", "--json"]));
    let mail: Value = serde_json::from_str(inbox.lines().last().unwrap()).unwrap();
    assert_eq!((&mail["from"], &mail["sender"]), (&"cto".into(), &"agent-cto".into()));
    let evidence = get(required(&operator, &["evidence", "--json"]));
    let record: Value = serde_json::from_str(evidence.lines().next().unwrap()).unwrap();
    assert_eq!((&record["verdict"], &record["claimed"]), (&"unsigned".into(), &"operator".into()));
    let nobody = Done::of(&mut bare(&["--signatures", "require", "evidence"]));
    nobody.says(2, "hint: name who vouches for senders with --trust");
    let trust = format!("{{\"issuers\":[\"{}\"]}}", account.key());
    let trust = place.write("trust.json", &trust);
    let doctor = Done::of(&mut bare(&["--trust", &trust, "doctor"]));
    assert!(doctor.out.contains("messages are not signed, and verified when read"), "{doctor:?}");
}

#[test]
fn on_a_laptop_everything_is_signed_without_a_flag_and_goes_on_over_a_rotation() {
    let backbone = Backbone::start();
    let place = &backbone.place;
    let agent = backbone.agent("cto", "cat > given; echo done", &[]);
    let done = |id: &str| {
        let args = ["task", "delegate", "cto", "Signed", "--role", "ceo", "--id", id, "--wait"];
        let done = place.run(&args);
        assert_eq!(done.code, Some(0), "{done:?}");
    };
    done("T1");
    let given: Value = serde_json::from_str(&place.wait_for("given")).unwrap();
    assert_eq!(given["delegatedBy"], "operator");
    let report = place.get(&["inbox", "read", "--role", "ceo", "--json"]);
    let report: Value = serde_json::from_str(report.lines().last().unwrap()).unwrap();
    assert_eq!((&report["from"], &report["sender"]), (&"cto".into(), &"agent-cto".into()));
    place.get(&["inbox", "send", "cto", "hello", "--role", "ceo"]);
    let told = place.get(&["inbox", "history", "--role", "cto"]);
    assert!(told.contains("ceo (by operator)"), "{told}");
    assert_eq!(place.get(&["evidence"]), "");

    place.get(&["org", "rotate", "acme"]);
    done("T2");
    place.get(&["org", "rotate", "acme", "--retire"]);
    done("T3");
    assert_eq!(place.get(&["evidence"]), "", "nothing was refused on the way");
    assert!(place.json(&["task", "show", "T1"]).to_string().contains("completed"));

    let off = ["--signatures", "off", "inbox", "send", "cto", "pay", "--role", "ceo"];
    place.get(&off);
    let read = place.run(&["inbox", "read", "--role", "cto"]);
    read.says(0, "is refused: it is not signed");
    let evidence = place.get(&["evidence", "--json"]);
    let record: Value = serde_json::from_str(evidence.lines().next().unwrap()).unwrap();
    assert_eq!((&record["verdict"], &record["claimed"]), (&"unsigned".into(), &"ceo".into()));
    drop(agent);
}

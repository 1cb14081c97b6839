//! `sinew demo` on a small repository, and on what is none.

use serde_json::Value;

use crate::kit::{Place, repository};

#[test]
fn the_demo_goes_well_on_a_small_repository_and_leaves_it_as_it_was() {
    let place = Place::new();
    let path = place.path("small");
    repository(&path);
    let before = std::fs::read_dir(path.join(".git")).unwrap().count();
    let done = place.run(&["demo", "--json", "small"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let lines: Vec<Value> =
        done.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.last().unwrap()["sound"], true);
    let verdict = lines.iter().find(|line| line["claims"].is_array()).unwrap();
    let claims = verdict["claims"].as_array().unwrap();
    assert!(claims.len() > 15 && claims.iter().all(|claim| claim["holds"] == true), "{verdict}");
    let said = done.out;
    assert!(said.contains("wakes marketing") && said.contains("kills cto-0"), "{said}");
    assert!(said.contains("index.lock"), "the failure of qa is git's own: {said}");
    assert!(said.contains("the link gone.md leads nowhere"), "{said}");
    assert_eq!(std::fs::read_dir(path.join(".git")).unwrap().count(), before);
    assert!(!place.path(".sinew").exists());
}

#[test]
fn what_is_no_repository_is_refused() {
    let place = Place::new();
    place.run(&["demo"]).says(3, "lies in no git repository");
    place.run(&["demo", "no-such-folder"]).says(3, "is no folder");
    let mut without_git = place.command(&["demo"]);
    without_git.env("PATH", "/nowhere");
    crate::kit::Done::of(&mut without_git).says(3, "there is no git");
}

//! Holds that the lists are what the table says, and that no two users share what is private.

use proptest::prelude::*;

use super::*;
use crate::{id::Root, stream::ENDS_CONSUMER};

fn acme() -> Subjects {
    Subjects::new(Root::default(), "acme".parse().unwrap())
}

fn role(name: &str) -> Role {
    name.parse().unwrap()
}

fn users() -> [User; 4] {
    [User::Agent(role("cto")), User::Observer, User::Operator, User::Server]
}

/// A subject that lies within the pattern.
fn example(pattern: &str) -> String {
    pattern.replace('*', "x1").replace('>', "x1.x2")
}

fn may(allowed: &Allowed, way: Way, subject: &str) -> bool {
    let list = match way {
        Way::Publish => &allowed.publish,
        Way::Subscribe => &allowed.subscribe,
    };
    list.iter().any(|pattern| covers(pattern, subject))
}

#[test]
fn every_cell_of_the_table_is_what_the_lists_say() {
    let subjects = acme();
    let other = role("qa");
    for user in users() {
        let allowed = allowed(&subjects, &user);
        for action in Action::ALL {
            let name = user.name();
            // What is about others is asked about another role.
            let of_others = action.is_about_others();
            let own = match &user {
                User::Agent(role) if !of_others => Whose::Of(role),
                User::Agent(_) | User::Observer | User::Operator | User::Server => {
                    Whose::Of(&other)
                }
            };
            let scope = Scope { subjects: &subjects, own, name: &name };
            let rules = action.rules(&scope);
            assert!(!rules.is_empty(), "{action:?} has no subjects");
            let reached: Vec<_> = rules
                .iter()
                .filter(|rule| may(&allowed, rule.way, &example(&rule.pattern)))
                .collect();
            if user.kind().may(action) {
                assert_eq!(reached.len(), rules.len(), "{user:?} lacks something of {action:?}");
            } else {
                // What a forbidden action shares with a permitted one is no part of the fence:
                // a reader of its own mail may use a name of a consumer that it cannot know.
                let shared = rules.iter().filter(|rule| {
                    Action::ALL.into_iter().filter(|it| user.kind().may(*it)).any(|it| {
                        let own = match &user {
                            User::Agent(role) => Whose::Of(role),
                            User::Observer | User::Operator | User::Server => Whose::Everybody,
                        };
                        it.rules(&Scope { subjects: &subjects, own, name: &name }).contains(rule)
                    })
                });
                assert_eq!(reached, shared.collect::<Vec<_>>(), "{user:?} reaches {action:?}");
                assert!(reached.len() < rules.len(), "{user:?} may do {action:?}");
            }
        }
    }
}

#[test]
fn nobody_hears_the_replies_to_others() {
    let mut all: Vec<User> = users().into();
    all.extend(
        ["observer", "operator", "server", "agent-cto", "qa"].map(|it| User::Agent(role(it))),
    );
    for user in &all {
        let subject = format!("{}.x", user.inbox_prefix());
        for other in all.iter().filter(|other| *other != user) {
            let allowed = allowed(&acme(), other);
            assert!(!may(&allowed, Way::Subscribe, &subject), "{other:?} hears {user:?}");
        }
    }
}

#[test]
fn no_list_reaches_the_server_another_org_or_everything() {
    for user in users() {
        let Allowed { publish, subscribe } = allowed(&acme(), &user);
        for pattern in publish.iter().chain(&subscribe) {
            assert!(!pattern.starts_with("$SYS"), "{user:?}: {pattern}");
            assert!(!pattern.starts_with('>') && !pattern.starts_with('*'), "{user:?}: {pattern}");
            assert!(!covers(pattern, "genbrain.org.other.tasks.T1.created"), "{user:?}: {pattern}");
        }
    }
}

proptest! {
    #[test]
    fn what_is_private_to_a_role_is_reached_by_no_other(
        one in "[a-z0-9][a-z0-9_-]{0,12}",
        other in "[a-z0-9][a-z0-9_-]{0,12}",
    ) {
        let (Ok(one), Ok(other)) = (one.parse::<Role>(), other.parse::<Role>()) else {
            return Ok(());
        };
        prop_assume!(one != other);
        let subjects = acme();
        let name = User::Agent(one.clone()).name();
        let scope = Scope { subjects: &subjects, own: Whose::Of(&one), name: &name };
        let reach = allowed(&subjects, &User::Agent(other));
        for action in [
            Action::PullOwn,
            Action::AckOwn,
            Action::Beat,
            Action::Introduce,
            Action::HearReplies,
        ] {
            for rule in action.rules(&scope) {
                prop_assert!(
                    !may(&reach, rule.way, &example(&rule.pattern)),
                    "{:?} of {}", rule, one
                );
            }
        }
        let inbox: String = subjects.inbox(&one).into();
        prop_assert!(!may(&reach, Way::Subscribe, &inbox));
        let make = format!("$JS.API.CONSUMER.CREATE.AGENT_MAIL.x.{inbox}");
        prop_assert!(!may(&reach, Way::Publish, &make));
        // From a consumer that others have made, under whatever name.
        for taken in Shelf::ALL.map(|it| it.consumer_name(&one)) {
            for verb in ["MSG.NEXT", "DELETE", "INFO"] {
                let take = format!("$JS.API.CONSUMER.{verb}.AGENT_MAIL.{taken}");
                prop_assert!(!may(&reach, Way::Publish, &take), "{}", take);
            }
        }
        for verb in ["MSG.NEXT", "DELETE"] {
            let take = format!("$JS.API.CONSUMER.{verb}.TASK_LOG.{ENDS_CONSUMER}");
            prop_assert!(!may(&reach, Way::Publish, &take), "{}", take);
        }
    }

    #[test]
    fn a_pattern_covers_its_examples_and_itself(pattern in "[a-c*](\\.[a-c*]){0,4}(\\.>)?") {
        prop_assert!(covers(&pattern, &example(&pattern)));
        let alien = format!("d{pattern}");
        prop_assert!(!covers(&pattern, &alien) || pattern.starts_with('*'));
    }
}

#[test]
fn the_page_is_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/permissions.md");
    let said = page(&acme(), &role("cto"));
    if std::fs::read_to_string(path).unwrap_or_default() != said {
        let fresh = std::env::temp_dir().join("permissions.md");
        std::fs::write(&fresh, said).unwrap();
        panic!("docs/reference/permissions.md is old; the new one is {}", fresh.display());
    }
}

#[test]
fn whoever_looks_may_look_at_every_stream() {
    let subjects = acme();
    let names: Vec<_> =
        crate::stream::Catalogue::standard(&subjects).streams.iter().map(|it| it.name).collect();
    for user in users() {
        let allowed = allowed(&subjects, &user);
        for name in &names {
            let info = format!("$JS.API.STREAM.INFO.{name}");
            assert!(may(&allowed, Way::Publish, &info), "{user:?}: {info}");
        }
    }
}

#[test]
fn a_name_leads_back_to_its_user() {
    for user in users() {
        assert_eq!(User::named(&user.name()), Some(user));
    }
    for name in ["", "agent-", "agent-*", "nobody", "Server"] {
        assert_eq!(User::named(name), None, "{name}");
    }
}

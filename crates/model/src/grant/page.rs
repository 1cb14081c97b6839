//! The table as a page for people.

use std::fmt::Write as _;

use super::{Action, Kind, Scope, User, Way, Whose};
use crate::{id::Role, subject::Subjects};

const HEAD: &str = "# Permissions

Made from the table in `crates/model/src/grant`; a test compares them. The permissions of every \
`.creds` file are made from the same table, and so are the attacks of the tests. What is not listed \
is refused by the server.

Examples are of the org `acme` and the role `cto`. An observer, an operator and the controllers act \
for all roles: where a subject has `cto`, they have `*`. Nobody in an org reaches another org: each \
is an account of its own, and these subjects mean something else there.

Besides, every user may publish on `genbrain.org.acme.senders.{key}` of its own public key and of no \
other: there lies the certificate by which others know its signatures.

";

/// The page `docs/reference/permissions.md`.
#[must_use]
pub fn page(subjects: &Subjects, role: &Role) -> String {
    let mut page = HEAD.to_owned();
    // Writing to a String cannot fail.
    writeln!(page, "| to | {} |", Kind::ALL.map(Kind::word).join(" | ")).ok();
    writeln!(page, "|---|{}", "---|".repeat(Kind::ALL.len())).ok();
    for action in Action::ALL {
        let marks = Kind::ALL.map(|kind| if kind.may(action) { "yes" } else { "-" });
        writeln!(page, "| {} | {} |", action.words(), marks.join(" | ")).ok();
    }
    page.push_str("\n## Subjects\n");
    let name = User::Agent(role.clone()).name();
    let scope = Scope { subjects, own: Whose::Of(role), name: &name };
    for action in Action::ALL {
        writeln!(page, "\n### To {}\n", action.words()).ok();
        for rule in action.rules(&scope) {
            let way = match rule.way {
                Way::Publish => "publish",
                Way::Subscribe => "subscribe",
            };
            writeln!(page, "- {way} `{}`", rule.pattern).ok();
        }
    }
    page
}

//! Who may do what: one table of actions and kinds of users. The permissions of a user's JWT, the
//! page in `docs/reference/permissions.md` and the attacks of the tests are all made of it, so none
//! of them can say something else than the others.
//!
//! An [`Action`] has the subjects that it takes; [`Kind::may`] says who may do it; [`allowed`]
//! puts both together. Nothing is denied by name: what is not listed is refused by the server.
//! The wall between orgs is not here, it is the account; this is the fence within one.

mod page;
mod table;

use crate::{
    id::Role,
    stream::Shelf,
    subject::{Band, Subjects},
};

pub use page::page;
pub use table::Action;

/// A kind of user of an org.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An agent of one role.
    Agent,
    /// Somebody who looks on.
    Observer,
    /// A person who runs the org.
    Operator,
    /// The controllers of the org.
    Server,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Agent, Self::Observer, Self::Operator, Self::Server];

    /// The kind as one word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Observer => "observer",
            Self::Operator => "operator",
            Self::Server => "server",
        }
    }

    /// Whether users of this kind may do it.
    #[must_use]
    pub const fn may(self, action: Action) -> bool {
        let [agent, observer, operator, server] = action.who();
        match self {
            Self::Agent => agent,
            Self::Observer => observer,
            Self::Operator => operator,
            Self::Server => server,
        }
    }
}

/// A user of an org: a kind, and for an agent its role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum User {
    /// An agent of that role.
    Agent(Role),
    /// Somebody who looks on.
    Observer,
    /// A person who runs the org.
    Operator,
    /// The controllers of the org.
    Server,
}

impl User {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Agent(_) => Kind::Agent,
            Self::Observer => Kind::Observer,
            Self::Operator => Kind::Operator,
            Self::Server => Kind::Server,
        }
    }

    /// The name in its JWT. That of an agent begins with `agent-`, so no role, whatever it is
    /// called, has the name of another kind.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Agent(role) => format!("agent-{role}"),
            Self::Observer | Self::Operator | Self::Server => self.kind().word().to_owned(),
        }
    }

    /// The user of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let others = [Self::Observer, Self::Operator, Self::Server];
        match name.strip_prefix("agent-") {
            Some(role) => role.parse().ok().map(Self::Agent),
            None => others.into_iter().find(|it| it.name() == name),
        }
    }

    /// Whether it may send something as that role. An operator may act for any, since it may give
    /// out the credentials of any; the controllers carry out what any role has recorded, when its
    /// writer is gone. That it was not the role itself stays visible in the sender's name.
    #[must_use]
    pub fn speaks_for(&self, role: &Role) -> bool {
        match self {
            Self::Agent(own) => own == role,
            Self::Operator | Self::Server => true,
            Self::Observer => false,
        }
    }

    /// What the subjects of its replies begin with.
    #[must_use]
    pub fn inbox_prefix(&self) -> String {
        inbox_prefix(&self.name())
    }
}

/// What the subjects of replies begin with for a user of that name. Nobody else hears them.
#[must_use]
pub fn inbox_prefix(name: &str) -> String {
    format!("_INBOX.{name}")
}

/// The name of a consumer through which the user of that name reads a stream on which the consumers
/// of others have names that everybody knows; `number` is below
/// [`SCANS_OF_USER`](crate::limits::SCANS_OF_USER). Names of roles are lower case, so none of their
/// consumers is called so.
#[must_use]
pub fn scan_name(user: &str, number: usize) -> String {
    format!("SCAN-{number}-{user}")
}

/// To send, or to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// Publish.
    Publish,
    /// Subscribe.
    Subscribe,
}

/// One permission.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// To send, or to hear.
    pub way: Way,
    /// The subject, with wildcards.
    pub pattern: String,
}

/// Whose subjects an action is about.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    /// The subjects of the org.
    pub subjects: &'a Subjects,
    /// The role that acts, or all.
    pub own: Whose<'a>,
    /// The name of the user.
    pub name: &'a str,
}

/// One role, or all of them.
#[derive(Clone, Copy, Debug)]
pub enum Whose<'a> {
    /// That one.
    Of(&'a Role),
    /// All.
    Everybody,
}

impl Whose<'_> {
    /// The role as the token of a subject.
    fn token(&self) -> &str {
        match self {
            Self::Of(role) => role.as_str(),
            Self::Everybody => "*",
        }
    }

    /// The consumers of its work, each with its filter.
    fn consumers(&self, subjects: &Subjects) -> Vec<(String, String)> {
        match self {
            Self::Of(role) => Band::ALL
                .map(|band| {
                    let name = crate::stream::work_consumer_name(role, band);
                    (name, subjects.tasks(role, band).into())
                })
                .into(),
            Self::Everybody => vec![("*".to_owned(), ">".to_owned())],
        }
    }

    /// The consumers of its inbox, each with its filter.
    fn inbox(&self, subjects: &Subjects) -> Vec<(String, String)> {
        match self {
            Self::Of(role) => Shelf::ALL
                .map(|it| (it.consumer_name(role), it.subject(subjects, role).into()))
                .into(),
            Self::Everybody => vec![("*".to_owned(), ">".to_owned())],
        }
    }
}

/// What a user may publish and subscribe to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Where it may send.
    pub publish: Vec<String>,
    /// Where it may listen.
    pub subscribe: Vec<String>,
}

/// The permissions of a user: the subjects of all that its kind may do.
#[must_use]
pub fn allowed(subjects: &Subjects, user: &User) -> Allowed {
    let name = user.name();
    let own = match user {
        User::Agent(role) => Whose::Of(role),
        User::Observer | User::Operator | User::Server => Whose::Everybody,
    };
    let scope = Scope { subjects, own, name: &name };
    let mut allowed = Allowed::default();
    for action in Action::ALL.into_iter().filter(|action| user.kind().may(*action)) {
        for rule in action.rules(&scope) {
            let list = match rule.way {
                Way::Publish => &mut allowed.publish,
                Way::Subscribe => &mut allowed.subscribe,
            };
            if !list.contains(&rule.pattern) {
                list.push(rule.pattern);
            }
        }
    }
    allowed
}

impl Allowed {
    /// The same, and the right to make its own certificate known: on the subject of that key and of
    /// no other, so that nobody can put something else in the place of another's.
    #[must_use]
    pub fn certifying(mut self, subjects: &Subjects, key: &str) -> Self {
        if let Some(subject) = subjects.sender(key) {
            self.publish.push(subject.into());
        }
        self
    }
}

/// Whether a subject, or a filter, lies wholly within a pattern.
#[must_use]
pub fn covers(pattern: &str, subject: &str) -> bool {
    let mut wanted = subject.split('.');
    for token in pattern.split('.') {
        match (token, wanted.next()) {
            (">", Some(_)) => return true,
            ("*", Some(found)) if found != ">" => {}
            (exact, Some(found)) if exact == found && found != ">" => {}
            (_, Some(_) | None) => return false,
        }
    }
    wanted.next().is_none()
}

#[cfg(test)]
mod tests;

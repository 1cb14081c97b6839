//! What the server refused to users of the orgs, from its own log: it says so there and nowhere
//! else. What whoever is refused chose, such as the name of a client or a subject, is quoted there,
//! and told apart from what the server says.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use sinew_model::{
    OrgId, Time,
    limits::{REFUSAL_TEXT_BYTES, REFUSALS_TOLD, head},
};

use super::{AccountError, Orgs, orgs::at};

/// What was refused, as often as it was.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The org, where the user's account is known.
    pub org: Option<OrgId>,
    /// What the user is called, where the org gave it its credentials.
    pub name: Option<String>,
    /// The user's public key; none where a login was refused.
    pub user: Option<String>,
    /// From which address, without the port.
    pub from: String,
    /// What was tried.
    pub what: Tried,
    /// Where it was to be sent or heard; empty for a login.
    pub subject: String,
    /// How often.
    pub count: u64,
    /// When it was refused last, by the server's clock.
    pub last: Time,
}

/// What the server did not let somebody do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tried {
    /// To log in.
    Login,
    /// To publish on a subject.
    Publish,
    /// To hear a subject.
    Subscribe,
}

impl Tried {
    /// As it is shown.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Publish => "publish",
            Self::Subscribe => "subscribe",
        }
    }
}

/// What was refused, and how much of it is not told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// What was refused, the oldest first.
    pub shown: Vec<Refusal>,
    /// Refusals beyond the bound of different ones.
    pub beyond: u64,
}

/// One line of the log that tells of a refusal.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    at: Time,
    from: String,
    /// The account's and the user's public key.
    who: Option<(String, String)>,
    what: Tried,
    subject: String,
}

type Key = (Option<(String, String)>, String, Tried, String);

impl Orgs {
    /// What the server refused, by its log.
    ///
    /// # Errors
    /// [`AccountError::File`].
    pub fn refusals(&self, log: &Path) -> Result<Refusals, AccountError> {
        let records = self.records()?;
        let named = |account: &str, key: &str| {
            let (org, record) = records.iter().find(|(_, it)| it.account == account)?;
            let user = record.users.iter().find(|it| it.key == key);
            Some((org.clone(), user.map(|it| it.name.clone())))
        };
        Refusals::read(log, named).map_err(at(log))
    }
}

impl Refusals {
    /// Reads the log of the server, and the older files of it that are kept. `named` says which org
    /// an account is of, and what its user is called.
    ///
    /// # Errors
    /// When a file can't be read. Where there is none, nothing was refused.
    pub fn read(
        log: &Path,
        named: impl Fn(&str, &str) -> Option<(OrgId, Option<String>)>,
    ) -> io::Result<Self> {
        let mut found: BTreeMap<Key, (u64, Time)> = BTreeMap::new();
        let mut beyond = 0;
        for path in files(log)? {
            let bytes = match std::fs::read(&path) {
                // It was removed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                read => read?,
            };
            for line in String::from_utf8_lossy(&bytes).lines().filter_map(line) {
                let Line { at, from, who, what, subject } = line;
                let key = (who, from, what, subject);
                if !found.contains_key(&key) && found.len() >= REFUSALS_TOLD {
                    beyond += 1;
                    continue;
                }
                let (count, last) = found.entry(key).or_insert((0, at));
                (*count, *last) = (*count + 1, (*last).max(at));
            }
        }
        let refusal = |((who, from, what, subject), (count, last)): (Key, (u64, Time))| {
            let known = who.as_ref().and_then(|(account, user)| named(account, user));
            let (org, name) = known.map_or((None, None), |(org, name)| (Some(org), name));
            Refusal { org, name, user: who.map(|it| it.1), from, what, subject, count, last }
        };
        let mut shown: Vec<Refusal> = found.into_iter().map(refusal).collect();
        shown.sort_by_key(|it| it.last);
        Ok(Self { shown, beyond })
    }
}

/// The log, and the files that it was moved to, whose names go on where its own ends.
fn files(log: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(folder), Some(name)) = (log.parent(), log.file_name()) else { return Ok(Vec::new()) };
    let name = name.to_string_lossy().into_owned();
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let is_of = |rest: &str| rest.is_empty() || rest.starts_with('.');
        if entry.file_name().to_string_lossy().strip_prefix(name.as_str()).is_some_and(is_of) {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// `[pid] 2026/11/25 19:21:24.012730 [ERR] 127.0.0.1:43092 - cid:68 - "client" - "ACCOUNT/name/jwt:USER"
/// - Publish Violation - Subject "subject"`
fn line(text: &str) -> Option<Line> {
    let (stamp, rest) = text.split_once(" [ERR] ")?;
    let mut words = stamp.split(' ').skip(1);
    let (date, time) = (words.next()?.replace('/', "-"), words.next()?);
    let at = format!("{date}T{time}Z").parse().ok()?;
    let parts = parts(rest);
    let address = parts.first()?;
    let from = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host).to_owned();
    if parts.last()? == "authentication error" {
        return Some(Line { at, from, who: None, what: Tried::Login, subject: String::new() });
    }
    let (place, what) = parts.iter().enumerate().find_map(|(place, part)| match part.as_str() {
        "Publish Violation" => Some((place, Tried::Publish)),
        "Subscription Violation" => Some((place, Tried::Subscribe)),
        _ => None,
    })?;
    let who = place.checked_sub(1).and_then(|place| parts.get(place)).and_then(|it| who(it));
    let said = parts.get(place + 1)?.strip_prefix("Subject ")?;
    let subject = head(&unquoted(said)?, REFUSAL_TEXT_BYTES).to_owned();
    Some(Line { at, from, who, what, subject })
}

/// `"ACCOUNT/name/jwt:USER"`: the server quotes it, and there is nothing in it that it escapes.
fn who(part: &str) -> Option<(String, String)> {
    let inner = part.strip_prefix('"')?.strip_suffix('"')?;
    let (rest, user) = inner.rsplit_once("/jwt:")?;
    let (account, _name) = rest.split_once('/')?;
    Some((account.to_owned(), user.to_owned()))
}

/// The parts of a line, between ` - ` outside of quotes, with their quotes.
fn parts(text: &str) -> Vec<String> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let (mut quoted, mut escaped) = (false, false);
    for letter in text.chars() {
        part.push(letter);
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ' ' if !quoted && part.ends_with(" - ") => {
                part.truncate(part.len() - " - ".len());
                parts.push(std::mem::take(&mut part));
            }
            _ => {}
        }
    }
    parts.push(part);
    parts
}

/// The text within the first quotes.
fn unquoted(text: &str) -> Option<String> {
    let (mut inner, mut escaped) = (String::new(), false);
    for letter in text.strip_prefix('"')?.chars() {
        match letter {
            _ if escaped => {
                inner.push(letter);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Some(inner),
            _ => inner.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use sinew_testkit::TempDir;

    use super::*;

    const HEAD: &str = "[7] 2026/11/25 19:21:24.012730 [ERR] 127.0.0.1:43092 - cid:68 - ";

    #[test]
    fn a_line_says_who_was_refused_what() {
        let text = format!(
            r#"{HEAD}"v2:python3" - "AACC/acme/jwt:UUSER" - Publish Violation - Subject "foo.bar""#
        );
        let seen = line(&text).expect("a refusal");
        let expect = Line {
            at: "2026-11-25T19:21:24.012730Z".parse().expect("a time"),
            from: "127.0.0.1".to_owned(),
            who: Some(("AACC".to_owned(), "UUSER".to_owned())),
            what: Tried::Publish,
            subject: "foo.bar".to_owned(),
        };
        assert_eq!(seen, expect);
        let text = format!(
            r#"{HEAD}"v2" - "AACC/a/jwt:UU" - Subscription Violation - Subject "a.>", Queue: "q", SID 2"#
        );
        let seen = line(&text).expect("a refusal");
        assert_eq!((seen.what, seen.subject.as_str()), (Tried::Subscribe, "a.>"));
        let seen = line(&format!("{HEAD}authentication error")).expect("a refusal");
        assert_eq!((seen.what, seen.who), (Tried::Login, None));
        assert_eq!(line("[7] 2026/11/25 19:21:24.012730 [INF] Server is ready"), None);
        assert_eq!(line(""), None);
    }

    #[test]
    fn nobody_is_blamed_by_the_name_of_a_client() {
        let name = r#"x\" - \"AOTHER/b/jwt:UOTHER\" - Publish Violation - Subject \"lie\""#;
        let text = format!(
            r#"{HEAD}"{name}" - "AACC/a/jwt:UU" - Publish Violation - Subject "it said \" - ""#
        );
        let seen = line(&text).expect("a refusal");
        assert_eq!(seen.who, Some(("AACC".to_owned(), "UU".to_owned())));
        assert_eq!(seen.subject, "it said \" - ");
    }

    #[test]
    fn the_same_is_counted_over_all_files_and_a_heap_of_others_is_bounded() {
        let folder = TempDir::new("refusals");
        let log = folder.join("nats-server.log");
        let none = |_: &str, _: &str| None;
        assert_eq!(Refusals::read(&log, none).expect("reading"), Refusals::default());
        let of = |subject: &str| {
            format!("{HEAD}\"v\" - \"AACC/a/jwt:UU\" - Publish Violation - Subject \"{subject}\"\n")
        };
        std::fs::write(folder.join("nats-server.log.2026.1"), of("a").repeat(2)).expect("writing");
        std::fs::write(folder.join("nats-server.logbook"), of("a")).expect("writing");
        std::fs::write(&log, of("a")).expect("writing");
        let found = Refusals::read(&log, none).expect("reading");
        assert_eq!(found.shown.len(), 1);
        assert_eq!(found.shown[0].count, 3);
        let many: String = (0..REFUSALS_TOLD + 5).map(|it| of(&format!("s{it}"))).collect();
        std::fs::write(&log, many).expect("writing");
        let found = Refusals::read(&log, none).expect("reading");
        assert_eq!((found.shown.len(), found.beyond), (REFUSALS_TOLD, 6));
    }
}

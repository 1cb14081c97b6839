//! Bounds of the dashboard.

use std::time::Duration;

/// The port of the dashboard on this machine, if nothing says otherwise; ten below that of MCP.
pub const DASHBOARD_PORT: u16 = 4_270;

/// Ports that are tried upwards from the first before any free one is taken.
pub const DASHBOARD_PORTS: u16 = 10;

/// Pages and actions that the dashboard works on at a time. A person opens one; more than this is
/// a program, which has the command line.
pub const DASHBOARD_REQUESTS: usize = 128;

/// Pages that are kept live at a time. Each renders again when something changes.
pub const DASHBOARD_STREAMS: usize = 128;

/// Largest form, in bytes: an input of a task as a person pastes it. What is larger goes through the
/// command line.
pub const DASHBOARD_FORM_BYTES: usize = 1 << 20;

/// Rows on a page of a list: two screens.
pub const DASHBOARD_ROWS: usize = 50;

/// Cards in a column of the board; the rest is in the list.
pub const DASHBOARD_CARDS: usize = 12;

/// Rows of a list on the overview.
pub const DASHBOARD_GLANCE_ROWS: usize = 6;

/// Instances that a page of agents shows.
pub const DASHBOARD_INSTANCES: usize = 100;

/// Characters of a result, an input or an event's details that a page shows; the command line has
/// all of it.
pub const DASHBOARD_TEXT: usize = 20_000;

/// Orgs that the dashboard holds open at a time, each with a connection and a view.
pub const DASHBOARD_ROOMS: usize = 32;

/// Connections of visitors to one org, one for each role that somebody visits as.
pub const DASHBOARD_LOGINS: usize = 32;

/// Shortest time between two renderings of a live page: quicker is not seen, and costs.
pub const DASHBOARD_PACE: Duration = Duration::from_millis(100);

/// How long what was looked up for one page serves another: agents change once a second.
pub const DASHBOARD_FRESH: Duration = Duration::from_millis(900);

/// Time between two looks at what does not tell of its changes, as an agent that falls silent.
pub const DASHBOARD_LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long nobody must have looked at an org before the dashboard leaves it.
pub const DASHBOARD_QUIET: Duration = Duration::from_secs(120);

/// Time between two comments on a live page that has no news, so that a dead connection shows.
pub const DASHBOARD_KEEP_ALIVE: Duration = Duration::from_secs(10);

/// How long a browser remembers that somebody has entered, in seconds: 30 days.
pub const DASHBOARD_COOKIE_SECONDS: u64 = 30 * 24 * 3_600;

/// How long a page waits for the view to show what its visitor has just done.
pub const DASHBOARD_PATIENCE: Duration = Duration::from_secs(3);

/// How long the dashboard waits for its last answers when it stops.
pub const DASHBOARD_CLOSE: Duration = Duration::from_secs(2);

/// Meetings that the dashboard shows, those first in which something happened last.
pub const DASHBOARD_MEETINGS: usize = 200;

//! The form by which a person delegates a task.

use maud::html;
use serde::Deserialize;
use sinew_agent::new_id;

use super::task::csrf;
use crate::face::dashboard::{fault::Fault, gate::Visit, shell::Page, view::given};

/// What the form begins with.
#[derive(Clone, Debug, Default, Deserialize)]
pub(in crate::face::dashboard) struct Beginning {
    role: Option<String>,
}

/// Renders it.
pub(in crate::face::dashboard) async fn page(
    visit: &Visit,
    beginning: &Beginning,
) -> Result<Page, Fault> {
    // Without the agents the form is as good as with them: a role may sleep.
    let agents = visit.room.agents().await.unwrap_or_default();
    let body = html! {
        p.crumbs { a href="/tasks" { "Tasks" } }
        h1 { "Delegate a task" }
        p.lead { "The task is stored before the next page opens, and ends visibly whatever happens. Its reports go to the inbox of " b { (visit.grant.role) } "." }
        form.tall #delegate method="post" action="/tasks" {
            (csrf(visit))
            // The same form sent twice is one task.
            input type="hidden" name="id" value=(new_id());
            label for="role" { "Role" }
            input #role name="role" list="roles" required autocomplete="off"
                value=(given(&beginning.role).unwrap_or_default()) aria-describedby="role-hint";
            p.mute #role-hint { "Who is to do it. A role that sleeps does it when it wakes." }
            datalist #roles { @for known in agents.iter() { option value=(known.role) {} } }
            label for="title" { "Title" }
            input #title name="title" required maxlength="512" autocomplete="off" aria-describedby="title-hint";
            p.mute #title-hint { "What is to be done, in one line." }
            label for="input" { "Input" }
            textarea #input name="input" rows="6" aria-describedby="input-hint" {}
            p.mute #input-hint { "What the worker needs: text, or JSON." }
            div.pair {
                div {
                    label for="priority" { "Priority" }
                    select #priority name="priority" {
                        option value="urgent" { "Urgent" }
                        option value="normal" selected { "Normal" }
                        option value="low" { "Low" }
                    }
                }
                div {
                    label for="verifier" { "Verifier" }
                    input #verifier name="verifier" list="roles" autocomplete="off" aria-describedby="verifier-hint";
                    p.mute #verifier-hint { "Who must accept the result, if anybody." }
                }
            }
            button.primary type="submit" { "Delegate" }
        }
    };
    Ok(Page::new("Delegate a task", body))
}

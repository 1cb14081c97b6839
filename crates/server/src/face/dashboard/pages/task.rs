//! One task: where it stands, what a person may do for it, its life, and the tree it is part of.

use maud::{Markup, html};
use sinew_model::{
    TaskId,
    limits::TREE_DEPTH,
    task::{End, Phase, Question, State},
};
use sinew_views::task::{Life, TaskRow, Tree};

use super::story;
use crate::face::dashboard::{fault::Fault, gate::Visit, shell::Page, words};

/// Renders it.
pub(in crate::face::dashboard) async fn page(visit: &Visit, id: &TaskId) -> Result<Page, Fault> {
    let store = &visit.room.store;
    let Some(life) = store.show(id.clone()).await? else {
        return Err(Fault::Missing(format!("task {id}")));
    };
    // The log has what rows have no room for: the question, the input. It may be purged.
    let state = visit.room.reader().state(id).await?;
    let tree = tree(visit, &life.task).await?;
    let row = &life.task;
    let body = html! {
        p.crumbs { a href="/tasks" { "Tasks" } }
        div.heading {
            h1 { (words::title(row)) }
            span #phase role="status" { (words::phase(&row.phase)) }
        }
        @if row.phase == "running" { div #progress { (words::progress(row)) } }
        @if let Some(state) = &state { (asks(visit, id, state)) }
        div.columns.task {
            div {
                section aria-labelledby="life" {
                    h2 #life { "Life" }
                    (story::timeline(&life.entries, life.next.is_some()))
                }
            }
            div {
                (acts(visit, row))
                (facts(row))
                (outcome(&life, state.as_ref()))
                @if let Some(assignment) = state.as_ref().and_then(|it| it.assignment.as_deref()) {
                    section aria-labelledby="input" {
                        h2 #input { "Input" }
                        @if assignment.input_ref.is_some() {
                            p.mute { "It is too large for this page." }
                        } @else { (words::value(&assignment.input)) }
                    }
                }
                (family(&tree, id))
            }
        }
    };
    Ok(Page::new(words::title(row), body))
}

/// The whole tree that a task is part of, from its root.
async fn tree(visit: &Visit, row: &TaskRow) -> Result<Tree, Fault> {
    let store = &visit.room.store;
    let mut root = row.task_id.clone();
    let mut parent = row.parent.clone();
    for _ in 0..TREE_DEPTH {
        let Some(above) = parent.take() else { break };
        let Some(life) = store.show(above).await? else { break };
        root = life.task.task_id;
        parent = life.task.parent;
    }
    Ok(store.tree(root).await?)
}

fn facts(row: &TaskRow) -> Markup {
    html! {
        section aria-labelledby="facts" {
            h2 #facts { "Facts" }
            dl.facts {
                dt { "Id" } dd { code { (row.task_id) } }
                dt { "Role" } dd { (words::role_if(row.role.as_ref())) }
                dt { "Delegated by" } dd {
                    (words::role_if(row.delegator.as_ref()))
                    @if let Some(name) = &row.delegated_by { span.mute { " · signed by " (name) } }
                }
                @if let Some(band) = row.priority { dt { "Priority" } dd { (band.word()) } }
                dt { "Delegated" } dd { (words::time(row.created_at)) }
                @if let Some(at) = row.started_at { dt { "Begun" } dd { (words::time(at)) } }
                @if let Some(at) = row.ended_at { dt { "Ended" } dd { (words::time(at)) } }
                @else { dt { "Deadline" } dd { (words::time(row.due)) } }
                dt { "Attempts" } dd {
                    (row.attempts) @if row.failures > 0 { ", " (row.failures) " failed" }
                }
                @if let Some(instance) = &row.instance { dt { "Instance" } dd { code { (instance) } } }
            }
        }
    }
}

/// What came of it.
fn outcome(life: &Life, state: Option<&State>) -> Markup {
    let row = &life.task;
    let large = state.is_some_and(|state| state.result_ref.is_some());
    let waiting = state.and_then(|state| match &state.phase {
        Phase::Submitted { result, .. } => Some(result),
        Phase::Ended { end: End::Completed { result, .. }, .. } => Some(result),
        Phase::Queued { .. }
        | Phase::Running { .. }
        | Phase::Released { .. }
        | Phase::Blocked { .. }
        | Phase::Waiting { .. }
        | Phase::Ready { .. }
        | Phase::Ended { .. } => None,
    });
    html! {
        @if large {
            section aria-labelledby="result" {
                h2 #result { "Result" }
                p { "It is too large for this page. In a terminal:" }
                (words::command(&format!("sinew task show {} --result", row.task_id)))
            }
        } @else if let Some(result) = waiting.or(row.result.as_ref()) {
            section aria-labelledby="result" {
                h2 #result { "Result" }
                (words::value(result))
            }
        }
        @if let Some(cause) = &row.cause {
            section aria-labelledby="cause" {
                h2 #cause { "Cause" }
                @if let Some(dead) = row.dead { p { "Given up because " (dead.words()) "." } }
                @if !cause.trim().is_empty() { pre tabindex="0" { (cause) } }
            }
        }
    }
}

/// What it asks a person.
fn asks(visit: &Visit, id: &TaskId, state: &State) -> Markup {
    match &state.phase {
        Phase::Blocked { question, escalated_to, .. } => {
            let to = escalated_to.as_ref().unwrap_or(&question.to);
            html! {
                section.ask #question aria-labelledby="asks" {
                    h2 #asks { (to) " is asked" }
                    blockquote { (question.text) }
                    (answer(visit, id, question))
                }
            }
        }
        Phase::Submitted { .. } => html! {
            section.ask #verdict aria-labelledby="asks" {
                h2 #asks { "The result waits for a verdict" }
                p { "The result is under “Result”. Accepted, the task is complete; refused, it goes back to work with the reason." }
                div.forms {
                    form #accept method="post" action=(format!("/tasks/{id}/accept")) data-keep="yes" {
                        (csrf(visit))
                        label for="evidence" { "On what evidence" }
                        input #evidence name="text" autocomplete="off";
                        button.primary type="submit" { "Accept" }
                    }
                    form #refuse method="post" action=(format!("/tasks/{id}/refuse")) data-keep="yes" {
                        (csrf(visit))
                        label for="reason" { "What is missing" }
                        input #reason name="text" autocomplete="off" required;
                        button type="submit" { "Refuse" }
                    }
                }
            }
        },
        Phase::Queued { .. }
        | Phase::Running { .. }
        | Phase::Released { .. }
        | Phase::Waiting { .. }
        | Phase::Ready { .. }
        | Phase::Ended { .. } => html! {},
    }
}

fn answer(visit: &Visit, id: &TaskId, question: &Question) -> Markup {
    let action = format!("/tasks/{id}/answer");
    html! {
        form.answer #answer method="post" action=(action) data-keep="yes" {
            (csrf(visit))
            input type="hidden" name="key" value=(question.key);
            @if question.choices.is_empty() {
                label for="text" { "Your answer" }
                textarea #text name="text" rows="3" required {}
                button.primary type="submit" { "Answer" }
            } @else {
                fieldset {
                    legend { "Your answer" }
                    @for choice in &question.choices {
                        button type="submit" name="text" value=(choice) { (choice) }
                    }
                }
            }
        }
    }
}

/// What may be done for it.
fn acts(visit: &Visit, row: &TaskRow) -> Markup {
    let id = &row.task_id;
    html! {
        @if row.ended_at.is_none() {
            section.acts aria-label="Actions" {
                details #cancel {
                    summary { "Cancel this task…" }
                    form #cancel-form method="post" action=(format!("/tasks/{id}/cancel")) data-keep="yes" {
                        (csrf(visit))
                        label for="why" { "Why (the worker and the delegator are told)" }
                        input #why name="text" autocomplete="off";
                        p.mute { "Everything that it delegated is called off with it." }
                        button.danger type="submit" { "Cancel the task" }
                    }
                }
            }
        } @else if row.phase == "dead" {
            section.acts aria-label="Actions" { (retry(visit, id)) }
        }
    }
}

/// A button that revives a dead task.
pub(super) fn retry(visit: &Visit, id: &TaskId) -> Markup {
    html! {
        form.retry id=(format!("retry-{id}")) method="post" action=(format!("/tasks/{id}/retry")) {
            (csrf(visit))
            button.primary type="submit" { "Retry" span.hidden { " task " (id) } }
        }
    }
}

/// The word by which a form is known as ours.
pub(super) fn csrf(visit: &Visit) -> Markup {
    html! { input type="hidden" name="csrf" value=(visit.csrf); }
}

/// The tree as nested lists; nothing where the task is alone.
fn family(tree: &Tree, own: &TaskId) -> Markup {
    html! {
        @if tree.tasks.len() > 1 {
            section aria-labelledby="tree" {
                h2 #tree { "Tree" }
                @if let Some(root) = tree.tasks.first() { ul.tree { (branch(tree, root, own)) } }
                @if tree.cut { p.mute { "The tree has more tasks than fit here." } }
            }
        }
    }
}

fn branch(tree: &Tree, row: &TaskRow, own: &TaskId) -> Markup {
    let below = |it: &&TaskRow| it.parent.as_ref() == Some(&row.task_id) && it.depth > row.depth;
    let children: Vec<&TaskRow> = tree.tasks.iter().filter(below).collect();
    html! {
        li {
            div.line {
                @if row.task_id == *own { b aria-current="page" { (words::title(row)) } }
                @else { (words::task(row)) }
                (words::role_if(row.role.as_ref()))
                (words::phase(&row.phase))
            }
            @if !children.is_empty() {
                ul { @for child in children { (branch(tree, child, own)) } }
            }
        }
    }
}

//! Inboxes and meetings are looked through some at a time, and nothing is left out.

use futures::StreamExt as _;
use serde_json::json;
use sinew_agent::{Message, meeting::Page as Meetings};
use sinew_model::{
    Band, MeetingId, Time,
    limits::INBOX_PART,
    meeting::{Definition, State},
};

use crate::kit::{Backbone, role};

/// What the pages of an inbox say, each from its oldest message on.
async fn pages(backbone: &Backbone, most: usize, since: Option<Time>) -> Vec<Vec<i64>> {
    let inbox = backbone.client("cto").inbox();
    let (mut pages, mut before) = (Vec::new(), None);
    loop {
        let suits = |mail: &sinew_model::mail::Mail| mail.body["no"].is_i64();
        let page = inbox.page(before, most, since, suits).await.unwrap();
        let mails = page.messages.iter().map(|kept| kept.mail.as_ref().unwrap());
        pages.push(mails.map(|mail| mail.body["no"].as_i64().unwrap()).collect());
        let Some(older) = page.older else { return pages };
        assert!(before.is_none_or(|before| older < before), "{older} is no step back");
        before = Some(older);
    }
}

#[tokio::test]
async fn an_inbox_is_looked_through_page_by_page_across_what_others_get() {
    let backbone = Backbone::start().await;
    assert_eq!(pages(&backbone, 5, None).await, [[0_i64; 0]], "nothing is there");
    let ceo = backbone.client("ceo");
    let send = async |no: i64| {
        let band = [Band::Normal, Band::Urgent, Band::Low][usize::try_from(no % 3).unwrap()];
        let message = match no {
            4 => Message::to_everybody(json!({ "no": no })),
            _ => Message::new(role("cto"), json!({ "no": no })).priority(band),
        };
        ceo.send(message).await.unwrap();
    };
    for no in 0..6 {
        send(no).await;
    }
    // More than is searched at a time.
    let foreign = futures::stream::iter(0..INBOX_PART.0 + 100);
    foreign
        .for_each_concurrent(100, async |_| {
            ceo.send(Message::new(role("qa"), json!({ "text": "x" }))).await.unwrap();
        })
        .await;
    ceo.send(Message::new(role("cto"), json!({ "text": "of no number" }))).await.unwrap();
    for no in 6..13 {
        send(no).await;
    }
    let all = pages(&backbone, 5, None).await;
    let shown: Vec<i64> = all.iter().rev().flatten().copied().collect();
    assert_eq!(shown, (0..13).collect::<Vec<_>>(), "{all:?}");
    assert_eq!(all.first().unwrap(), &[8, 9, 10, 11, 12]);
    let inbox = backbone.client("cto").inbox();
    let tenth = inbox.page(None, 4, None, |_| true).await.unwrap().messages[1].time;
    let newest = pages(&backbone, 50, Some(tenth)).await;
    assert_eq!(newest, [[10, 11, 12]], "what is older than asked for is not searched");
    let unread = inbox.unread().await.unwrap();
    assert_eq!(unread.total(), 14, "looking takes nothing away");
}

fn ids(page: &Meetings) -> Vec<&str> {
    page.meetings.iter().map(|it| it.meeting_id.as_str()).collect()
}

#[tokio::test]
async fn meetings_are_listed_page_by_page_with_the_liveliest_first() {
    let backbone = Backbone::start().await;
    let ceo = backbone.client("ceo");
    let none = ceo.meetings(None, 5, |_| true).await.unwrap();
    assert!(none.meetings.is_empty() && none.older.is_none(), "nothing is there");
    for no in 0..9 {
        let id: MeetingId = format!("m{no}").parse().unwrap();
        let what = Definition::new("It", role("ceo"), vec![role("ceo"), role("cto")]);
        ceo.open_meeting(Some(id), what).await.unwrap();
    }
    let first = ceo.meetings(None, 4, |_| true).await.unwrap();
    assert_eq!(ids(&first), ["m5", "m6", "m7", "m8"]);
    // One of another page becomes lively meanwhile: it is at the front from then on.
    let mut lively = ceo.meet(&"m2".parse().unwrap()).await.unwrap();
    lively.join().await.unwrap();
    let second = ceo.meetings(first.older, 4, |_| true).await.unwrap();
    assert_eq!(ids(&second), ["m0", "m1", "m3", "m4"]);
    let rest = match second.older {
        Some(older) => ceo.meetings(Some(older), 4, |_| true).await.unwrap(),
        None => Meetings::default(),
    };
    assert!(rest.meetings.is_empty() && rest.older.is_none(), "{rest:?}");
    lively.close(None).await.unwrap();
    let newest = ceo.meetings(None, 1, |_| true).await.unwrap();
    assert_eq!(ids(&newest), ["m2"]);
    let open = ceo.meetings(None, 50, |state: &State| !state.is_closed()).await.unwrap();
    assert_eq!(ids(&open), ["m0", "m1", "m3", "m4", "m5", "m6", "m7", "m8"]);
}

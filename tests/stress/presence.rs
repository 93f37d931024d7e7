//! Who is there, while many come and go.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a scenario stops at the first fault"
)]

use std::{collections::HashMap, sync::Arc};

use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Duration, Instant, sleep_until},
};

use crate::{
    Scenario,
    browser::Browser,
    dice::Dice,
    harness::{DEADLINE, until},
    world::{Place, World},
};

const ROOM: &str = "room:1";

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![Scenario::new("joins_and_leaves_are_balanced", |w, d| {
        Box::pin(balanced(w, d))
    })]
}

/// What an observer was told.
#[derive(Default)]
struct Told {
    joins: u64,
    leaves: u64,
    /// By user: joins less leaves.
    there: HashMap<String, i64>,
}

impl Told {
    fn take(&mut self, message: &Value) {
        for (name, sign) in [("join", 1), ("leave", -1)] {
            let info = &message["push"][name]["info"];
            let Some(user) = info["user"].as_str().filter(|user| *user != "observer") else {
                continue;
            };
            let there = self.there.entry(user.to_owned()).or_default();
            *there += sign;
            assert!(*there >= 0, "{user} left who had not come: {message}");
            self.joins += u64::from(sign > 0);
            self.leaves += u64::from(sign < 0);
        }
    }

    fn is_balanced(&self) -> bool {
        self.there.values().all(|there| *there == 0)
    }
}

/// Done: eight users come into a room, leave it, are cut off, and come back within the grace or
/// not. Holds: an observer is told of nobody's leaving who had not come, and in the end of as many
/// leaves as joins; then presence knows nobody else.
async fn balanced(world: Arc<World>, mut dice: Dice) -> String {
    let token = Place::token(0, "observer", 600, json!({}));
    let mut observer = world.busy.browser_with(0, &token).await;
    observer
        .subscribe_as(json!({ "channel": ROOM, "join_leave": true }))
        .await;
    let mut users = JoinSet::new();
    for user in 0..8 {
        users.spawn(come_and_go(
            Arc::clone(&world),
            dice.split(),
            format!("user{user}"),
        ));
    }
    let mut told = Told::default();
    observe(&mut observer, &mut told, world.ends).await;
    let visits: u64 = users.join_all().await.into_iter().sum();
    // Those that were cut off last are announced when their grace is over.
    let deadline = Instant::now() + DEADLINE;
    let mut before = u64::MAX;
    while !told.is_balanced() || before != told.joins {
        assert!(Instant::now() < deadline, "not balanced: {:?}", told.there);
        before = told.joins;
        let end = Instant::now() + Duration::from_millis(1_500);
        observe(&mut observer, &mut told, end).await;
    }
    let me = observer.client();
    until("the room to be empty but for the observer", || async {
        let body = json!({ "channel": ROOM });
        let reply = world.busy.call(0, "presence", &body).await;
        let presence = reply["result"]["presence"].as_object().unwrap().clone();
        (presence.len() == 1 && presence.contains_key(&me)).then_some(())
    })
    .await;
    assert_eq!(told.joins, told.leaves);
    assert!(
        told.joins > 0 && told.joins < visits,
        "the grace hid nobody"
    );
    format!(
        "{visits} visits, {} joins and {} leaves told",
        told.joins, told.leaves
    )
}

/// Takes in what the observer is told until `end`.
async fn observe(observer: &mut Browser, told: &mut Told, end: Instant) {
    loop {
        tokio::select! {
            biased;
            message = observer.message() => told.take(&message),
            () = sleep_until(end) => return,
        }
    }
}

async fn come_and_go(world: Arc<World>, mut dice: Dice, user: String) -> u64 {
    let mut visits = 0;
    while !world.is_over() {
        let token = Place::token(0, &user, 600, json!({}));
        let mut browser: Browser = world.busy.browser_with(0, &token).await;
        browser.subscribe(ROOM).await;
        visits += 1;
        browser
            .read_for(Duration::from_millis(dice.of(0, 300)))
            .await;
        if dice.chance(40) {
            browser.unsubscribe(ROOM).await;
        }
        drop(browser);
        let away = if dice.chance(30) {
            dice.of(1_300, 1_800)
        } else {
            dice.of(0, 300)
        };
        let back = Instant::now() + Duration::from_millis(away);
        sleep_until(back.min(world.ends)).await;
    }
    visits
}

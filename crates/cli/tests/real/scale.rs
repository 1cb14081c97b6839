//! A team of real processes: they start with work and stop without it, none is cut off, and none is
//! left behind.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    process::Command,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use sinew_bus::Bus;
use sinew_model::stream::{AGENT_TASKS, TASK_LOG};
use sinew_server::context::Context;
use sinew_testkit::wait;

use crate::kit::{LONG, Place, Running, wait_gone};

/// For what starts many processes.
const LONGER: Duration = Duration::from_secs(180);

struct Company {
    place: Place,
    up: Running,
}

impl Company {
    fn start(team: &str) -> Self {
        let place = Place::new();
        place.write("team.toml", team);
        Self::on(place)
    }

    fn on(place: Place) -> Self {
        let up = place.start("up", &["up", "--team", "team.toml", "--json"]);
        up.until_says("\"ready\"");
        Self { place, up }
    }

    /// The processes of agents, as the system knows them.
    fn agents(&self) -> BTreeSet<u32> {
        let parent = self.up.pid().to_string();
        let listed = Command::new("ps").args(["-o", "pid=,args=", "--ppid", &parent]).output();
        let text = String::from_utf8(listed.unwrap().stdout).unwrap();
        let agents = text.lines().filter(|line| line.contains("agent run"));
        agents.map(|line| line.split_whitespace().next().unwrap().parse().unwrap()).collect()
    }

    #[track_caller]
    fn until_agents(&self, what: &str, holds: impl Fn(usize) -> bool) {
        wait::until_blocking(what, LONGER, || {
            let agents = self.agents().len();
            if holds(agents) { Ok(()) } else { Err(format!("{agents}: {}", self.up.err())) }
        });
    }

    fn status(&self) -> Value {
        self.place.json(&["scale", "status"])
    }

    fn delegate(&self, role: &str, title: &str) -> String {
        self.place.get(&["task", "delegate", role, title])
    }

    fn count(&self, what: &str) -> usize {
        self.up.err().matches(what).count()
    }

    async fn bus(&self) -> Bus {
        let context = Context::load(&self.place.path(".sinew/context.json")).unwrap();
        Bus::connect(context.bus_config()).await.unwrap()
    }

    fn stop(&mut self) {
        self.up.signal(Signal::TERM);
        assert_eq!(self.up.end().code(), Some(0), "{}", self.up.err());
    }
}

/// How many entries of a kind all logs have.
async fn entries(bus: &Bus, word: &str) -> usize {
    let filter = bus.subjects().pattern(&format!("org.acme.tasks.*.{word}"));
    bus.depth(TASK_LOG, &filter)
        .await
        .unwrap()
        .values()
        .map(|it| usize::try_from(*it).unwrap())
        .sum()
}

fn lines(place: &Place, name: &str) -> usize {
    std::fs::read_to_string(place.path(name)).unwrap_or_default().lines().count()
}

#[tokio::test]
async fn twenty_roles_sleep_without_a_process_wake_with_a_task_and_sleep_again() {
    let role = |number: usize| {
        format!(
            "[roles.role-{number}]\ncommand = [\"sh\", \"-c\", \"echo x >> ran\"]\ncooldown = \"0s\"\n"
        )
    };
    let mut company = Company::start(&(0..20).map(role).collect::<String>());
    let bus = company.bus().await;
    let consumers = || async {
        let about = format!("STREAM.INFO.{AGENT_TASKS}");
        let info: Value = bus.api(&about, &Value::Null).await.unwrap();
        info["state"]["consumer_count"].as_u64().unwrap()
    };
    assert_eq!((company.agents().len(), consumers().await), (0, 0));
    for number in 0..20 {
        company.delegate(&format!("role-{number}"), "Wake up");
    }
    wait::until_blocking("all to have run", LONGER, || match lines(&company.place, "ran") {
        20 => Ok(()),
        ran => Err(format!("{ran}: {}", company.up.err())),
    });
    company.until_agents("all to sleep again", |agents| agents == 0);
    wait::until("no consumer", LONG, || async {
        match consumers().await {
            0 => Ok(()),
            left => Err(left.to_string()),
        }
    })
    .await;
    let status = company.status();
    let asleep = status["roles"].as_array().unwrap().iter().all(|it| it["reason"] == "asleep");
    assert!(asleep, "{status}");
    company.stop();
}

#[tokio::test]
async fn five_hundred_tasks_raise_a_role_to_its_maximum_and_no_further() {
    let mut company = Company::start(
        "[roles.cto]\ncommand = [\"true\"]\nmax = 5\nconcurrency = 20\ncooldown = \"0s\"\n",
    );
    let bus = company.bus().await;
    let client = sinew_agent::Client::new(bus.clone(), "ceo".parse().unwrap());
    let tasks = (0..500).map(|number| {
        let role = "cto".parse().unwrap();
        client.delegate(sinew_agent::Delegation::new(role, format!("Task {number}")))
    });
    for delegated in futures::future::join_all(tasks).await {
        delegated.unwrap();
    }
    let mut most = 0;
    wait::until("all to be done", LONGER, || {
        most = most.max(company.agents().len());
        let bus = bus.clone();
        async move {
            match entries(&bus, "completed").await {
                500 => Ok(()),
                done => Err(format!("{done} are done")),
            }
        }
    })
    .await;
    assert!((1..=6).contains(&most), "{most} instances where 5 may be");
    assert_eq!(entries(&bus, "released").await, 0);
    company.until_agents("all to sleep again", |agents| agents == 0);
    company.stop();
}

/// Work that comes in waves, so that instances are let go all the time, many of them just when the
/// next task comes.
#[tokio::test]
async fn no_busy_instance_is_stopped_however_often_a_role_shrinks() {
    const LEFT: usize = 60;
    let role = |number: usize| {
        format!(
            "[roles.role-{number}]\ncommand = [\"sleep\", \"0.3\"]\nmax = 3\nconcurrency = 1\n\
             cooldown = \"0s\"\n"
        )
    };
    let mut company = Company::start(&(0..5).map(role).collect::<String>());
    let bus = company.bus().await;
    let client = sinew_agent::Client::new(bus.clone(), "ceo".parse().unwrap());
    let mut delegated = 0;
    while company.count("it has left") < LEFT {
        for number in 0..5 {
            let role = format!("role-{number}").parse().unwrap();
            let task = sinew_agent::Delegation::new(role, format!("Task {delegated}"));
            client.delegate(task).await.unwrap();
            delegated += 1;
        }
        let before = company.count("it may leave");
        // The next wave comes when some were told to leave, or when all is done.
        wait::until("some to be told to leave", LONGER, || async {
            let done = entries(&bus, "completed").await;
            if done == delegated || company.count("it may leave") > before + 1 {
                Ok(())
            } else {
                Err(format!("{done} of {delegated} are done"))
            }
        })
        .await;
    }
    wait::until("all to be done", LONGER, || async {
        match entries(&bus, "completed").await {
            done if done == delegated => Ok(()),
            done => Err(format!("{done} of {delegated}")),
        }
    })
    .await;
    assert_eq!(entries(&bus, "released").await, 0, "{}", company.up.err());
    assert_eq!(entries(&bus, "started").await, delegated);
    company.stop();
}

#[test]
fn no_process_is_left_when_up_ends_or_is_killed() {
    let place = Place::new();
    let shell = "echo $$ > pid-$SINEW_TASK_ID; exec sleep 600";
    place.write(
        "team.toml",
        &format!("[roles.cto]\ncommand = [\"sh\", \"-c\", \"{shell}\"]\nmin = 1\nmax = 2\n"),
    );
    let mut company = Company::on(place);
    let id = company.delegate("cto", "Sleep");
    let pid = |company: &Company| -> u32 {
        company.place.wait_for(&format!("pid-{id}")).trim().parse().unwrap()
    };
    let program = pid(&company);
    let agents = company.agents();
    assert!(!agents.is_empty());
    company.up.signal(Signal::KILL);
    company.up.end();
    for pid in agents.into_iter().chain([program]) {
        wait_gone(pid);
    }

    // The next one starts it under the same name, which takes the task back at once.
    std::fs::remove_file(company.place.path(&format!("pid-{id}"))).unwrap();
    let mut company = Company::on(company.place);
    let program = pid(&company);
    let agents = company.agents();
    company.stop();
    for pid in agents.into_iter().chain([program]) {
        wait_gone(pid);
    }
}

#[test]
fn a_change_of_the_file_is_taken_up_and_a_command_that_crashes_is_told_of() {
    let mut company = Company::start("[roles.cto]\ncommand = [\"no-such-program\"]\nmax = 1\n");
    let id = company.delegate("cto", "Do it");
    wait::until_blocking("the crash to be told", LONG, || {
        let status = company.status();
        let crash = &status["crashing"][0];
        let told = crash["why"].as_str().is_some_and(|why| why.contains("no-such-program"));
        if told && crash["times"].as_u64() >= Some(2) { Ok(()) } else { Err(status.to_string()) }
    });
    let doctor = company.place.run(&["doctor"]);
    assert_eq!(doctor.code, Some(1), "{doctor:?}");
    assert!(doctor.out.contains("mend its command in the team file"), "{doctor:?}");

    company.place.write("team.toml", "[roles.cto]\ncommand = []\nmax = \"one\"\n");
    company.up.until_says("what it said before still holds");
    company.place.write(
        "team.toml",
        "[roles.cto]\ncommand = [\"sh\", \"-c\", \"echo $WHO\"]\nenv = { WHO = \"me\" }\nmax = 1\n",
    );
    let life = company.place.run(&["task", "watch", &id]);
    assert!(life.out.contains("completed"), "{life:?}");
    company.stop();
}

#[test]
fn health_is_told_over_http() {
    let mut company = Company::start("[roles.cto]\ncommand = [\"true\"]\n");
    let ready: Value = serde_json::from_str(&company.up.out()).unwrap();
    let url = ready["healthUrl"].as_str().unwrap();
    let get = |path: &str| {
        let address = url.strip_prefix("http://").unwrap();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let alive = get("/healthz");
    assert!(alive.starts_with("HTTP/1.1 200") && alive.ends_with("ok\n"), "{alive}");
    wait::until_blocking("it to be ready", LONG, || {
        let answer = get("/readyz");
        if answer.starts_with("HTTP/1.1 200") && answer.contains("\"leads\":[\"scaler\"") {
            Ok(())
        } else {
            Err(answer)
        }
    });
    company.stop();
}

#[test]
fn what_is_wrong_with_a_team_is_said_with_its_line_and_key() {
    let place = Place::new();
    place.run(&["up", "--team", "team.toml"]).says(3, "hint: name a team file");
    place.write("team.toml", "[roles.cto]\ncommand = [\"true\"]\nmax = 0\nmin = 1\n");
    let done = place.run(&["up", "--team", "team.toml"]);
    done.says(2, "`min` (1) must not be above `max` (0)");
    assert!(done.err.contains("line 1"), "{done:?}");
    place.write("team.toml", "[roles.cto]\nmax = 2\n");
    place.run(&["up", "--team", "team.toml"]).says(2, "has no `command`");
    let up = place.run(&["up", "--health", "127.0.0.1:99999"]);
    assert_eq!(up.code, Some(2), "{up:?}");
}

#[test]
fn the_example_does_its_work() {
    let place = Place::new();
    let team = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/scaling/team.toml");
    let up = place.start("up", &["up", "--team", team, "--json"]);
    up.until_says("\"ready\"");
    let mut company = Company { place, up };
    let done = |role: &str| company.place.get(&["task", "delegate", role, "Do it", "--wait"]);
    assert_eq!(done("greeter"), "Good day from attempt 1");
    assert!(done("counter").trim().parse::<u32>().is_ok());
    assert!(done("sorter").contains("Do it"));
    company.stop();
}

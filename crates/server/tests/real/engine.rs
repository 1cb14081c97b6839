//! The supervised nats-server: secured, kept running, and gone when it should be.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use sinew_bus::{Auth, Bus};
use sinew_model::limits::{ENGINE_PAYLOAD_BYTES, MESSAGE_BYTES};
use sinew_server::account::Orgs;
use sinew_server::context::{Context, Login};
use sinew_server::engine::{Config, Durability, Engine, StartError, State, find};
use sinew_testkit::{TempDir, wait};
use tokio::sync::watch::Receiver;

use crate::wire::Wire;

const LONG: Duration = Duration::from_secs(30);

/// The example that stands in for `sinew`; it is built with the tests and lies beside them.
fn example() -> PathBuf {
    let this = std::env::current_exe().expect("knowing this program");
    let profile = this.parent().and_then(Path::parent).expect("being in target/PROFILE/deps");
    let path = profile.join("examples/engine");
    assert!(path.is_file(), "{} is not built: run all targets of the crate", path.display());
    path
}

fn nats_server() -> PathBuf {
    sinew_testkit::install::nats_server().to_owned()
}

fn config(folder: &TempDir) -> Config {
    let org = "acme".parse().expect("an org");
    let mut config = Config::new(folder.join("data"), org, nats_server());
    config.guard = Some(vec![example().into(), OsString::from("guard")]);
    config
}

async fn start(folder: &TempDir) -> Engine {
    Engine::start(config(folder)).await.expect("starting")
}

async fn refused(config: Config) -> StartError {
    Engine::start(config).await.expect_err("it started")
}

async fn bus(engine: &Engine) -> Bus {
    Bus::connect(engine.context().bus_config()).await.expect("connecting")
}

async fn make_stream(bus: &Bus) {
    let config = json!({ "name": "KEPT", "subjects": ["genbrain.agents.*.inbox"], "max_msg_size": MESSAGE_BYTES });
    let _: Value = bus.api("STREAM.CREATE.KEPT", &config).await.expect("making a stream");
}

async fn has_stream(bus: &Bus) -> Result<(), String> {
    let answer: Result<Value, _> = bus.api("STREAM.INFO.KEPT", &Value::Null).await;
    answer.map(drop).map_err(|error| error.to_string())
}

fn pid_of(engine: &Engine) -> u32 {
    let state = engine.states().borrow().clone();
    let State::Ready { pid, .. } = state else { panic!("not ready: {state:?}") };
    pid
}

/// Waits for a state, and gives it.
async fn seen(states: &mut Receiver<State>, wanted: impl FnMut(&State) -> bool) -> State {
    let state = tokio::time::timeout(LONG, states.wait_for(wanted)).await;
    state.expect("the state in time").expect("a state").clone()
}

/// A process id from a file.
fn parsed(text: io::Result<String>) -> Result<u32, String> {
    let text = text.map_err(|error| error.to_string())?;
    text.trim().parse().map_err(|error| format!("{text:?}: {error}"))
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    rustix::process::kill_process(pid, signal).expect("sending a signal");
}

/// Waits until no process of that id runs; one that is dead and not reaped does not.
fn wait_gone(pid: u32) {
    wait::until_blocking("the process to be gone", LONG, || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") { Ok(()) } else { Err(stat) }
    });
}

fn monitor(context: &Context, page: &str) -> Value {
    let address = context.monitor_url.strip_prefix("http://").expect("an address of HTTP");
    let mut stream = TcpStream::connect(address).expect("connecting to the monitor");
    write!(stream, "GET {page} HTTP/1.0\r\n\r\n").expect("asking");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("reading the answer");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).expect("JSON")
}

#[tokio::test]
async fn serves_jetstream_to_the_org_and_to_nobody_else() {
    let folder = TempDir::new("engine");
    let engine = start(&folder).await;
    make_stream(&bus(&engine).await).await;

    let mut stranger = engine.context().bus_config();
    stranger.auth = Auth::None;
    Bus::connect(stranger).await.expect_err("a stranger got in");
    let mut guesser = engine.context().bus_config();
    guesser.auth = Auth::Password { user: "acme".to_owned(), password: "acme".to_owned() };
    Bus::connect(guesser).await.expect_err("a wrong password got in");
    engine.stop().await;
}

#[tokio::test]
async fn the_org_cannot_see_the_server_and_the_system_user_can() {
    let folder = TempDir::new("engine");
    let engine = start(&folder).await;
    let context = engine.context();
    let ask = |login: &Login, subject: &str| {
        let mut wire = Wire::connect(&context.url, login).expect("connecting");
        wire.ask(subject, "", b"").unwrap_or_else(|error| error.to_string())
    };
    let answer = ask(&context.system, "$SYS.REQ.SERVER.PING");
    assert!(answer.contains("server"), "{answer}");
    let answer = ask(&context.login, "$SYS.REQ.SERVER.PING");
    assert!(answer.contains("Permissions Violation"), "{answer}");
    // Nor does the system user see the streams of the org.
    make_stream(&bus(&engine).await).await;
    let answer = ask(&context.system, "$JS.API.STREAM.INFO.KEPT");
    assert!(!answer.contains("max_msg_size"), "{answer}");
    engine.stop().await;
}

#[tokio::test]
async fn the_largest_message_fits_and_one_byte_more_is_refused_in_words() {
    let folder = TempDir::new("engine");
    let engine = start(&folder).await;
    let client = bus(&engine).await;
    make_stream(&client).await;
    assert_eq!(client.max_payload(), ENGINE_PAYLOAD_BYTES);

    let context = engine.context();
    let mut wire = Wire::connect(&context.url, &context.login).expect("connecting");
    let headers = "Nats-Msg-Id: 1\r\n";
    let body = MESSAGE_BYTES - "NATS/1.0\r\nNats-Msg-Id: 1\r\n\r\n".len();
    let answer =
        wire.ask("genbrain.agents.cto.inbox", headers, &vec![b'x'; body]).expect("storing");
    assert!(answer.contains("\"seq\":1"), "{answer}");
    let headers = "Nats-Msg-Id: 2\r\n";
    let answer =
        wire.ask("genbrain.agents.cto.inbox", headers, &vec![b'x'; body + 1]).expect("an answer");
    assert!(answer.contains("maximum allowed"), "{answer}");
    engine.stop().await;
}

#[tokio::test]
async fn a_folder_has_one_engine() {
    let folder = TempDir::new("engine");
    let engine = start(&folder).await;
    let error = refused(config(&folder)).await;
    let me = std::process::id();
    assert!(matches!(error, StartError::AlreadyRunning { pid: Some(pid), .. } if pid == me));
    assert!(error.to_string().contains(&format!("(process {me})")), "{error}");
    make_stream(&bus(&engine).await).await;
    engine.stop().await;
}

#[tokio::test]
async fn a_taken_port_is_refused_by_number() {
    let folder = TempDir::new("engine");
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listening");
    let port = other.local_addr().expect("an address").port();
    let asked = Config { port: Some(port), ..config(&folder) };
    let error = refused(asked.clone()).await;
    assert!(matches!(error, StartError::PortTaken { port: taken } if taken == port), "{error:?}");

    drop(other);
    let engine = Engine::start(asked).await.expect("starting on the freed port");
    assert_eq!(engine.context().url, format!("nats://127.0.0.1:{port}"));
    engine.stop().await;
}

#[tokio::test]
async fn engines_that_start_at_once_do_not_fight_for_ports() {
    let folders: Vec<TempDir> = (0..4).map(|_| TempDir::new("engine")).collect();
    let mut starting = tokio::task::JoinSet::new();
    for folder in &folders {
        starting.spawn(Engine::start(config(folder)));
    }
    let mut engines = Vec::new();
    while let Some(outcome) = starting.join_next().await {
        engines.push(outcome.expect("not panicking").expect("starting"));
    }
    for engine in &engines {
        make_stream(&bus(engine).await).await;
    }
    for engine in engines {
        engine.stop().await;
    }
}

#[tokio::test]
async fn a_killed_server_comes_back_with_its_data() {
    let folder = TempDir::new("engine");
    let engine = start(&folder).await;
    let client = bus(&engine).await;
    make_stream(&client).await;

    let mut states = engine.states();
    let killed = pid_of(&engine);
    signal(killed, Signal::KILL);
    let down = seen(&mut states, |state| matches!(state, State::Down { .. })).await;
    let State::Down { why } = down else { panic!("not down: {down:?}") };
    assert!(why.contains("signal: 9"), "{why}");
    seen(&mut states, |state| matches!(state, State::Ready { restarts: 1, .. })).await;
    assert_ne!(pid_of(&engine), killed);
    wait::until("the stream to be there", LONG, || has_stream(&client)).await;
    engine.stop().await;
}

#[tokio::test]
async fn a_server_that_cannot_come_back_is_tried_again_until_it_can() {
    let folder = TempDir::new("engine");
    let engine = start(&folder).await;
    let mut states = engine.states();
    let settings = folder.join("data/nats.conf");
    let good = std::fs::read_to_string(&settings).expect("reading");
    std::fs::write(&settings, "no_such_setting {").expect("breaking the configuration");
    signal(pid_of(&engine), Signal::KILL);
    let said = |state: &State| matches!(state, State::Down { why } if why.contains("Parse error"));
    seen(&mut states, said).await;
    std::fs::write(&settings, good).expect("mending the configuration");
    seen(&mut states, |state| matches!(state, State::Ready { .. })).await;
    make_stream(&bus(&engine).await).await;
    engine.stop().await;
}

#[tokio::test]
async fn a_stopped_engine_leaves_no_process_and_a_free_folder() {
    let folder = TempDir::new("engine");
    let engine = start(&folder).await;
    make_stream(&bus(&engine).await).await;
    let (pid, mut states) = (pid_of(&engine), engine.states());
    engine.stop().await;
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "it is still there");
    assert_eq!(*states.borrow_and_update(), State::Stopped);
    assert!(!folder.join("data/nats-server.pid").exists());

    let engine = start(&folder).await;
    has_stream(&bus(&engine).await).await.expect("the stream of before");
    engine.stop().await;
}

#[tokio::test]
async fn a_server_that_hangs_is_stopped_too() {
    let folder = TempDir::new("engine");
    let engine = start(&folder).await;
    let pid = pid_of(&engine);
    // Frozen, it takes SIGTERM only when it goes on, which it does not.
    signal(pid, Signal::STOP);
    engine.stop().await;
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "it is still there");
}

#[tokio::test]
async fn a_dropped_engine_ends_its_server() {
    let folder = TempDir::new("engine");
    let engine = start(&folder).await;
    let (pid, mut states) = (pid_of(&engine), engine.states());
    drop(engine);
    seen(&mut states, |state| *state == State::Stopped).await;
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "it is still there");
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_nothing() {
    let folder = TempDir::new("engine");
    let mut starting = Box::pin(Engine::start(config(&folder)));
    let pid_file = folder.join("data/nats-server.pid");
    let pid: u32 = tokio::select! {
        biased;
        pid = wait::until("the server to be spawned", LONG, || async {
            parsed(std::fs::read_to_string(&pid_file))
        }) => pid,
        outcome = &mut starting => pid_of(&outcome.expect("starting")),
    };
    drop(starting);
    wait_gone(pid);
    wait::until("the folder to be free", LONG, || async {
        Engine::start(config(&folder)).await.map_err(|error| error.to_string())
    })
    .await
    .stop()
    .await;
}

/// A process of the test, killed when dropped.
struct Reaped(Child);

impl Reaped {
    /// A process that runs an engine, as `sinew up` would be, and the engine's server.
    fn up(folder: &TempDir) -> (Self, u32) {
        let child = Command::new(example())
            .arg("up")
            .arg(folder.join("data"))
            .arg(nats_server())
            .stdin(Stdio::null())
            .spawn()
            .expect("starting the example");
        let up = Self(child);
        let pid = wait::until_blocking("the engine of the example", LONG, || {
            Context::load(&folder.join("data/context.json")).map_err(|error| error.to_string())?;
            let text = std::fs::read_to_string(folder.join("data/nats-server.pid"));
            parsed(text)
        });
        (up, pid)
    }
}

impl Drop for Reaped {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody left to tell.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn the_server_dies_with_a_killed_parent() {
    let folder = TempDir::new("engine");
    let (up, pid) = Reaped::up(&folder);
    drop(up);
    wait_gone(pid);
}

#[test]
fn a_parent_that_ends_in_order_stops_its_server() {
    let folder = TempDir::new("engine");
    let (mut up, pid) = Reaped::up(&folder);
    // What Ctrl-C sends.
    signal(up.0.id(), Signal::INT);
    assert!(up.0.wait().expect("waiting for the example").success());
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "it is still there");
}

#[test]
fn the_server_is_in_a_process_group_of_its_own() {
    let folder = TempDir::new("engine");
    let (_up, pid) = Reaped::up(&folder);
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let group = rustix::process::getpgid(raw).expect("asking for the group");
    assert_eq!(Some(group), raw);
}

#[tokio::test]
async fn a_server_that_was_left_behind_is_ended_first() {
    let folder = TempDir::new("engine");
    start(&folder).await.stop().await;
    // As an engine without a guard leaves it when it is killed.
    let data = folder.join("data").canonicalize().expect("the folder");
    let left = Command::new(nats_server())
        .arg("--config")
        .arg(data.join("nats.conf"))
        .current_dir(&data)
        .spawn()
        .expect("starting a server");
    let left = Reaped(left);
    std::fs::write(data.join("nats-server.pid"), left.0.id().to_string()).expect("writing its id");
    let engine = start(&folder).await;
    wait_gone(left.0.id());
    engine.stop().await;
}

#[tokio::test]
async fn credentials_and_port_stay_over_a_restart() {
    let folder = TempDir::new("engine");
    let first = start(&folder).await;
    let before = first.context().clone();
    first.stop().await;
    let again = start(&folder).await;
    let after = again.context();
    assert_eq!((&after.login, &after.system), (&before.login, &before.system));
    assert_eq!(*after, Context::load(&folder.join("data/context.json")).expect("loading"));
    Wire::connect(&after.url, &before.login).expect("getting in with the old credentials");
    again.stop().await;

    // Another org has other credentials, and both are served.
    let org = "other".parse().expect("an org");
    let other = Engine::start(Config { org, ..config(&folder) }).await.expect("starting");
    let (url, login) = (&other.context().url, &other.context().login);
    assert_ne!(*login, before.login);
    Wire::connect(url, login).expect("getting in");
    Wire::connect(url, &before.login).expect("getting into the first org");
    other.stop().await;
}

/// A folder of the earlier kind: one password for each org, its streams below its name.
#[tokio::test]
async fn the_streams_of_a_folder_with_passwords_are_taken_over() {
    let folder = TempDir::new("engine");
    let engine = start(&folder).await;
    let org = engine.context().org.clone();
    make_stream(&bus(&engine).await).await;
    engine.stop().await;
    let streams = folder.join("data/store/jetstream");
    let root = engine_root();
    let account = Orgs::new(folder.join("data"), root).record(&org).expect("a record").account;
    std::fs::rename(streams.join(account), streams.join(org.as_str())).expect("renaming");
    for name in ["keys", "orgs", "creds", "accounts"] {
        std::fs::remove_dir_all(folder.join("data").join(name)).expect("removing");
    }
    let path = folder.join("data/context.json");
    let text = std::fs::read_to_string(&path).expect("reading");
    let mut context: Value = serde_json::from_str(&text).expect("JSON");
    context["login"] = json!({ "user": "acme", "password": "old" });
    context["system"] = json!({ "user": "SYS", "password": "old" });
    std::fs::write(&path, context.to_string()).expect("writing");

    let engine = start(&folder).await;
    has_stream(&bus(&engine).await).await.expect("the stream of before");
    engine.stop().await;
}

fn engine_root() -> sinew_model::Root {
    sinew_model::Root::default()
}

#[tokio::test]
async fn each_write_is_synced_unless_it_is_asked_otherwise() {
    let folder = TempDir::new("engine");
    for (durability, synced) in [(Durability::Always, true), (Durability::Interval, false)] {
        let engine = Engine::start(Config { durability, ..config(&folder) }).await;
        let engine = engine.expect("starting");
        assert_eq!(engine.context().durability, durability);
        let page = monitor(engine.context(), "/varz");
        let set = page.pointer("/jetstream/config/sync_always").and_then(Value::as_bool);
        assert_eq!(set.unwrap_or_default(), synced, "{durability}");
        engine.stop().await;
    }
}

#[tokio::test]
async fn what_holds_secrets_is_for_its_owner_alone() {
    let folder = TempDir::new("engine");
    let engine = start(&folder).await;
    let mode = |path: PathBuf| path.metadata().expect("being there").permissions().mode() & 0o777;
    for name in ["nats.conf", "context.json"] {
        assert_eq!(mode(folder.join("data").join(name)), 0o600, "{name}");
    }
    for name in ["data", "data/store"] {
        assert_eq!(mode(folder.join(name)), 0o700, "{name}");
    }
    for name in [
        "keys/operator.nk",
        "keys/operator-signing.nk",
        "keys/system.nk",
        "orgs/acme/account.nk",
        "orgs/acme/signing-1.nk",
        "orgs/acme/org.json",
        "audit.jsonl",
        "creds/system.creds",
        "creds/platform.creds",
        "creds/acme/operator.creds",
        "creds/acme/server.creds",
    ] {
        assert_eq!(mode(folder.join("data").join(name)), 0o600, "{name}");
    }
    for name in ["keys", "orgs", "orgs/acme", "creds", "creds/acme"] {
        assert_eq!(mode(folder.join("data").join(name)), 0o700, "{name}");
    }
    // Every seed is in a file of keys or of credentials, and nowhere else.
    let seed = std::fs::read_to_string(folder.join("data/orgs/acme/signing-1.nk")).expect("a key");
    let line = std::fs::read(format!("/proc/{}/cmdline", pid_of(&engine))).expect("reading");
    assert!(!String::from_utf8_lossy(&line).contains(seed.trim()), "in the command line");
    for name in
        ["nats-server.log", "nats.conf", "context.json", "orgs/acme/org.json", "audit.jsonl"]
    {
        let text = std::fs::read_to_string(folder.join("data").join(name)).expect("reading");
        for word in ["SO", "SA", "SU"] {
            let is_seed = |token: &&str| token.starts_with(word) && token.len() == 58;
            let mut tokens = text.split(|c: char| !c.is_ascii_alphanumeric());
            assert_eq!(tokens.find(is_seed), None, "{name} holds a seed");
        }
    }
    engine.stop().await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    // Below a file, because root may write into every folder.
    let folder = TempDir::new("engine");
    std::fs::write(folder.join("file"), "").expect("writing a file");
    let error = refused(Config { data_dir: folder.join("file/data"), ..config(&folder) }).await;
    assert!(matches!(error, StartError::Folder { .. }), "{error:?}");
    assert!(error.to_string().contains("file/data"), "{error}");
}

#[tokio::test]
async fn a_broken_context_is_named_and_kept() {
    let folder = TempDir::new("engine");
    start(&folder).await.stop().await;
    let path = folder.join("data/context.json");
    std::fs::write(&path, "{").expect("breaking the context");
    let error = refused(config(&folder)).await;
    assert!(matches!(error, StartError::Context(_)), "{error:?}");
    std::fs::remove_file(&path).expect("doing as told");
    start(&folder).await.stop().await;
}

#[tokio::test]
async fn a_server_that_ends_shows_the_end_of_its_log() {
    let folder = TempDir::new("engine");
    start(&folder).await.stop().await;
    let streams = folder.join("data/store/jetstream");
    std::fs::remove_dir_all(&streams).expect("removing the streams");
    std::fs::write(&streams, "no folder").expect("writing a file in their place");
    let error = refused(config(&folder)).await;
    assert!(matches!(error, StartError::Ended { .. }), "{error:?}");
    assert!(error.to_string().contains("Can't start JetStream"), "{error}");
}

#[tokio::test]
async fn a_program_that_is_missing_is_named_with_and_without_a_guard() {
    let folder = TempDir::new("engine");
    let missing = Config { binary: folder.join("no-server"), ..config(&folder) };
    let error = refused(missing.clone()).await;
    assert!(matches!(error, StartError::Ended { .. }), "{error:?}");
    assert!(error.to_string().contains("no-server"), "{error}");
    let error = refused(Config { guard: None, ..missing }).await;
    assert!(matches!(error, StartError::Spawn { .. }), "{error:?}");
    assert!(error.to_string().contains("no-server"), "{error}");
}

#[tokio::test]
async fn without_a_guard_it_runs_all_the_same() {
    let folder = TempDir::new("engine");
    let engine = Engine::start(Config { guard: None, ..config(&folder) }).await.expect("starting");
    make_stream(&bus(&engine).await).await;
    engine.stop().await;
}

#[tokio::test]
async fn the_pinned_server_is_found() {
    let found = find(Some(&nats_server()), None, None, &[]).await;
    assert_eq!(found.expect("finding it"), nats_server());
}

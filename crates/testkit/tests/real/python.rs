//! Python programs against a real server.

use std::time::Duration;

use sinew_testkit::{NatsServer, Python};

/// Asks JetStream who it is, through the pinned client.
const ASK: &str = "
import asyncio, os, nats
async def main():
    client = await nats.connect(os.environ['URL'])
    account = await client.jetstream().account_info()
    print(nats.__version__ if hasattr(nats, '__version__') else 'nats-py', account.streams)
    await client.close()
asyncio.run(main())
";

#[tokio::test]
async fn the_pinned_client_speaks_with_the_pinned_server() {
    let server = NatsServer::start();
    let said = Python::code(ASK).env("URL", server.url()).run().await.success();
    assert!(said.trim_end().ends_with(" 0"), "{said}");
}

#[test]
fn input_arguments_and_endings_are_passed_on() {
    let code = "import sys; print(sys.stdin.read(), sys.argv[1]); sys.exit('no')";
    let output = Python::code(code).arg("two").stdin("one").run_blocking();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("one two\n", "no\n"));
}

#[test]
fn a_program_that_hangs_is_ended_with_what_it_said() {
    let hangs =
        Python::code("print('so far', flush=True)\nimport threading\nthreading.Event().wait()");
    let failure = std::panic::catch_unwind(|| {
        let output = hangs.timeout(Duration::from_secs(1)).run_blocking();
        output.success()
    });
    let text = failure.expect_err("it ended").downcast::<String>().expect("a message");
    assert!(text.contains("so far"), "{text}");
}

//! Who gets in, and what a refusal shows.

use sinew_bus::{Bus, Config};
use sinew_testkit::NatsServer;

#[tokio::test]
async fn a_login_in_the_address_gets_in_and_is_in_no_error() {
    let users = "authorization { user: bob, password: \"p@ss\" }";
    let server = NatsServer::builder().extra_config(users).start();
    let connect = async |login: &str| {
        let url = format!("nats://{login}@127.0.0.1:{}", server.port());
        Bus::connect(Config::new(url, "acme".parse().unwrap())).await
    };
    connect("bob:p%40ss").await.unwrap();
    let fault = connect("bob:secret").await.unwrap_err();
    assert!(!format!("{fault} {fault:?}").contains("secret"), "{fault:?}");
}

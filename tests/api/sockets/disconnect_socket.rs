use crate::support::Runner;
use crate::support::database::{Database, Mode};
use crate::support::lambda::{Lambda, event};
use crate::support::socket::connections;
use serde_json::{Value, json};

fn connected(runner: &Runner, epoch: u64) {
    let mut event = event("connect_socket");
    event["requestContext"]["connectedAt"] = epoch.into();
    let lambda = Lambda::start("connect_socket", runner.dynamodb.as_deref().unwrap());
    assert_eq!(lambda.run(&event)["statusCode"], 200);
}

fn end(epoch: u64) -> Value {
    let mut event = event("disconnect_socket");
    event["requestContext"]["connectedAt"] = epoch.into();
    event
}

#[test]
fn the_end_of_a_connection_deletes_its_item() {
    let runner = Runner::ephemeral();
    connected(&runner, 7);
    let lambda = Lambda::start("disconnect_socket", runner.dynamodb.as_deref().unwrap());
    for _ in 0..2 {
        assert_eq!(lambda.run(&end(7)), json!({"statusCode": 200}), "a repeated event changes nothing");
        assert!(connections(&runner).is_empty());
    }
    let line = lambda.await_log(|line| line.get("statusCode").is_some());
    assert_eq!((&line["route"], &line["method"]), (&json!("WS $disconnect"), &json!("DISCONNECT")));
}

#[test]
fn a_late_end_does_not_end_the_next_connection() {
    let runner = Runner::ephemeral();
    connected(&runner, 8);
    let lambda = Lambda::start("disconnect_socket", runner.dynamodb.as_deref().unwrap());
    assert_eq!(lambda.run(&end(7))["statusCode"], 200);
    assert_eq!(connections(&runner).len(), 1);
}

#[test]
fn a_failing_database_is_a_failure_and_the_lease_ends_the_connection_later() {
    let runner = Runner::ephemeral();
    connected(&runner, 7);
    let database = Database::before(runner.dynamodb.as_deref().unwrap());
    database.be(Mode::Refusing);
    let lambda = Lambda::start("disconnect_socket", &database.url);
    assert_eq!(lambda.run(&end(7))["statusCode"], 500);
    database.be(Mode::Working);
    assert_eq!(lambda.run(&end(7))["statusCode"], 200);
    assert!(connections(&runner).is_empty());
}

//! A restore brings back claims, but no agents: an agent that was revoked after the snapshot stays revoked.

use crate::support::archive::{Archive, Vault, line, lines};
use crate::support::faults::{Fault, kill_at};
use crate::support::history::{audit, audit_of};
use crate::support::witness::{Witness, join};
use crate::support::{Runner, binary};
use domain::Timestamp;
use serde_json::{Value, json};
use snapshot::restore::{Restore, Wanted};
use snapshot::revoke::{Revoked, revoke_all};
use std::process::Command;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const ID: &str = "2026-11-21-03-00-00";

fn later() -> Timestamp {
    Timestamp::from(SystemTime::now()).plus(Duration::from_mins(10))
}

fn claim(user: &str) -> Value {
    json!({
        "pk": {"S": format!("USER#{user}")}, "sk": {"S": "STATE"}, "isMuted": {"BOOL": true}, "roomId": {"S": "room-0"},
        "version": {"N": "7"}, "lastUpdated": {"N": "1795257125000"}, "createdAt": {"N": "1795257125000"},
        "expiresAt": {"N": "4102444800"},
    })
}

fn with(mut item: Value, members: &Value) -> Value {
    item.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    item
}

/// People with agents and codes: as a snapshot holds them, and as a restore must bring them back.
fn witnessed(number: usize) -> [(Value, Value); 4] {
    let (agent, bytes) = (format!("agent-{number}"), json!({"B": "AAAA"}));
    let paired = with(claim(&format!("paired-{number}")), &json!({"agentId": {"S": agent}, "agentSeq": {"N": "3"}}));
    let evidence = json!({
        "challenge": bytes, "attested": bytes, "heardAt": {"N": "1795257125000"}, "heardVersion": {"N": "7"},
        "heardFlag": {"S": "muted"}, "heardSignal": {"S": "digital_zero"}, "heardId": {"S": "x"}, "heardLabel": {"S": "x"},
        "heardSilentSince": {"N": "1"}, "boundDeviceId": {"S": "x"}, "boundAgentDeviceId": {"S": "x"},
        "pairingCode": bytes, "pairingWitness": bytes, "pairingUntil": {"N": "1"}, "requestId": {"S": "before"},
        "leaseId": {"S": "abcdefgh"}, "leaseUntil": {"N": "4102444800000"},
    });
    let code = json!({"pairingCode": bytes, "pairingWitness": bytes, "pairingUntil": {"N": "4102444800000"}});
    let meta =
        |kind: &str| json!({"pk": {"S": format!("{kind}#{agent}")}, "sk": {"S": "META"}, "agentId": {"S": agent}});
    let by_service = json!({"changedBy": {"S": "service"}});
    let revoked = json!({"agentRevoked": {"BOOL": true}, "leaseUntil": {"N": "0"}});
    let asked = claim(&format!("asked-{number}"));
    [
        (with(paired.clone(), &evidence), with(with(paired, &revoked), &by_service)),
        (with(asked.clone(), &code), with(asked, &by_service)),
        (meta("AGENT"), with(with(meta("AGENT"), &json!({"revoked": {"BOOL": true}})), &by_service)),
        (meta("WITNESS"), meta("WITNESS")),
    ]
}

/// A snapshot of these people, and all lines that the tables must hold after the restore.
fn archive() -> (Archive, Vec<Vec<u8>>) {
    let (mut before, mut after) = (lines(1, 2, 3), lines(1, 2, 3));
    for (was, becomes) in (0..40).flat_map(witnessed) {
        before.push(line("state", was));
        after.push(line("state", becomes));
    }
    after.sort_unstable();
    (Archive::new(ID, before), after)
}

async fn vault(archive: &Archive) -> Vault {
    let vault = Vault::new();
    archive.store(&vault.objects).await;
    vault
}

fn revoking(vault: &Vault) -> Restore<'_> {
    let mut restore = vault.restore();
    (restore.keep_agents, restore.clock) = (false, later);
    restore
}

#[tokio::test]
async fn a_restore_brings_back_claims_but_no_agents_evidence_codes_or_presence() {
    let (archive, after) = archive();
    let vault = vault(&archive).await;
    let restored = revoking(&vault).run(&Wanted::Latest, &mut |_| {}).await.unwrap();
    assert!(restored.done && !restored.keep_agents && vault.lines().await == after);
}

#[tokio::test]
async fn with_keep_agents_everything_is_restored_unchanged() {
    let (archive, _) = archive();
    let vault = vault(&archive).await;
    assert!(vault.restore().run(&Wanted::Latest, &mut |_| {}).await.unwrap().keep_agents);
    let mut before = archive.lines.clone();
    before.sort_unstable();
    assert!(vault.lines().await == before);
}

#[tokio::test]
async fn a_killed_run_can_only_be_finished_with_the_same_choice_for_agents() {
    let (archive, after) = archive();
    let mut kills = 0;
    for number in 0.. {
        let vault = vault(&archive).await;
        let (plan, stop) = kill_at(number, Fault::HangAfter);
        vault.faulty.be(plan);
        let mut restore = revoking(&vault);
        restore.clock = || SystemTime::now().into();
        let mut told = |_| {};
        let outcome = tokio::select! {
            biased;
            () = stop.notified() => None,
            outcome = restore.run(&Wanted::Latest, &mut told) => Some(outcome),
        };
        vault.faulty.be_well();
        if outcome.is_some() {
            break;
        }
        kills += 1;
        let partial = vault.lines().await;
        if partial == after {
            continue;
        }
        if partial.iter().any(|line| String::from_utf8_lossy(line).contains("progress")) {
            let mut keeping = revoking(&vault);
            // The lease of the killed run has expired, so only the other choice for agents is refused.
            keeping.keep_agents = true;
            let refused = keeping.run(&Wanted::Latest, &mut |_| {}).await.unwrap_err();
            assert!(refused.exit_code() == 3 && refused.to_string().contains("without --keep-agents"), "{refused}");
        }
        assert!(revoking(&vault).run(&Wanted::Latest, &mut |_| {}).await.unwrap().done, "call {number}");
        assert!(vault.lines().await == after, "call {number}");
    }
    assert!(kills > 15, "{kills} kills");
}

#[tokio::test]
async fn revoking_all_agents_of_rolled_back_tables_is_idempotent() {
    let (archive, after) = archive();
    let vault = vault(&archive).await;
    vault.restore().run(&Wanted::Latest, &mut |_| {}).await.unwrap();
    assert_eq!(revoke_all(&vault.tables).await.unwrap(), Revoked { agents: 40, states: 80 });
    assert!(vault.lines().await == after);
    assert_eq!(revoke_all(&vault.tables).await.unwrap(), Revoked { agents: 0, states: 0 });
}

fn greenroom(args: &[&str]) -> String {
    let output = Command::new(binary("greenroom")).args(args).env_clear().output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

fn start(data: &str) -> Runner {
    Runner::start(&["--data-dir", data, "--dynamodb-port", "0"])
}

fn reason(runner: &Runner) -> Value {
    runner.get("/api/users/ada").json()["verdict"]["mute"]["reason"].clone()
}

#[test]
fn an_agent_that_was_revoked_after_the_snapshot_does_not_come_back() {
    let place = TempDir::new().unwrap();
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let mut runner = start(&path("old"));
    join(&runner, "ada", true);
    let mut witness = Witness::paired(&runner, "ada");
    assert_eq!(witness.attest(&runner, json!({})).status, 200);
    assert_eq!(runner.get("/api/users/ada").json()["verdict"]["mute"]["value"], "verified");
    audit_of(&runner, "demo", 3);
    greenroom(&["snapshot", "--data-dir", &path("old")]);
    assert_eq!(runner.delete(&format!("/api/agents/{}", witness.id)).status, 200);
    runner.signal("TERM");
    assert_eq!(runner.wait().0, 0);

    let snapshots = path("old/snapshots");
    for (name, kept) in [("new", false), ("kept", true)] {
        let mut args = vec!["restore", "--snapshot-dir", snapshots.as_str(), "--data-dir"];
        let data = path(name);
        args.push(&data);
        args.extend(kept.then_some("--keep-agents"));
        let said = greenroom(&args);
        assert_eq!(said.contains("every agent is revoked"), !kept, "{said}");
        let runner = start(&data);
        assert_eq!(reason(&runner) == "agent_revoked", !kept);
        assert_eq!(witness.attest(&runner, json!({})).status, if kept { 200 } else { 410 });
        // The history continues with her current state, and has no entry about the revocation.
        let entries = audit_of(&runner, "demo", 4);
        let actions: Vec<_> = entries.iter().map(|entry| entry.action.as_str()).collect();
        assert!(!actions.contains(&"agent_revoked"), "{actions:?}");
        assert_eq!(actions.iter().filter(|action| **action == "joined").count(), 2, "{actions:?}");
        // The entry names the service, because neither she nor her agent caused it.
        let again = entries.iter().rfind(|entry| entry.action == "joined").unwrap();
        assert_eq!((again.actor.as_str(), again.data.get("requestId")), ("service", None));
        let (entries, head) = audit(&runner, "demo");
        assert_eq!(domain::ledger::verify(&entries, Some(&head)), Ok(head));
    }
}

#[test]
fn a_command_revokes_the_agents_of_a_copied_directory_in_the_name_of_the_service() {
    let place = TempDir::new().unwrap();
    let data = place.path().join("data").to_str().unwrap().to_owned();
    let mut runner = start(&data);
    join(&runner, "ada", true);
    let mut witness = Witness::paired(&runner, "ada");
    assert_eq!(witness.attest(&runner, json!({})).status, 200);
    let before = audit_of(&runner, "demo", 3).len();
    runner.signal("TERM");
    assert_eq!(runner.wait().0, 0);
    let said = greenroom(&["revoke-agents", "--data-dir", &data]);
    assert!(said.contains("1 agents are revoked, in the states of 1 people"), "{said}");
    let runner = start(&data);
    assert_eq!(reason(&runner), "agent_revoked");
    assert_eq!(witness.attest(&runner, json!({})).status, 410);
    let entries = audit_of(&runner, "demo", before + 1);
    let revoked = entries.iter().find(|entry| entry.action == "agent_revoked").unwrap();
    assert_eq!(revoked.actor, "service");
    assert!(greenroom(&["revoke-agents", "--data-dir", &data]).contains("0 agents"), "beside a runner, and again");
}

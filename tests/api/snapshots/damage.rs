//! A damaged snapshot is refused before anything is written, or its damage is harmless and it is restored exactly.

use crate::support::archive::{Archive, Vault, both_forms, chain, line, lines, state};
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use snapshot::format::{Compression, LINE_BYTES_MAX};
use std::io::Write as _;

const ID: &str = "2026-11-21-03-00-00";

fn archive() -> Archive {
    Archive::new(ID, lines(3, 4, 20))
}

fn sorted(mut lines: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    lines.sort_unstable();
    lines
}

/// Restores the stored snapshot and returns the exit code. Checks that either everything was written or nothing.
async fn outcome(vault: &Vault, whole: &Archive, said: &str) -> u8 {
    let (code, text) = vault.exit_code(ID).await;
    let expected = if code == 0 { sorted(whole.lines.clone()) } else { Vec::new() };
    assert!(vault.lines().await == expected, "{said}: {code} {text}");
    code
}

async fn after(said: &str, damage: impl Fn(&mut Archive)) -> u8 {
    after_of(archive(), said, damage).await
}

async fn after_of(whole: Archive, said: &str, damage: impl Fn(&mut Archive)) -> u8 {
    let vault = Vault::new();
    let mut damaged = whole.clone();
    damage(&mut damaged);
    damaged.store(&vault.objects).await;
    outcome(&vault, &whole, said).await
}

/// Updates the manifest's sums of the stored object, but not those of its lines.
fn admit(archive: &mut Archive, lines: bool) {
    let before = archive.manifest["object"].clone();
    let object = archive.object.clone();
    let mut stored = Archive { compression: Compression::None, lines: vec![object], ..archive.clone() };
    stored.seal();
    let now = &stored.manifest["object"];
    archive.manifest["object"] = before;
    for member in ["bytes", "md5", "sha256"] {
        archive.manifest["object"][member] = now[member].clone();
    }
    if lines {
        let count = archive.lines.len();
        archive.manifest["object"]["lines"] = count.into();
        archive.manifest["object"]["lineBytes"] = archive.lines.iter().map(Vec::len).sum::<usize>().into();
    }
}

#[tokio::test]
async fn a_whole_snapshot_is_restored_exactly() {
    for compression in [Compression::Gzip, Compression::None] {
        let code = after("nothing", |archive| {
            archive.compression = compression;
            archive.seal();
        });
        assert_eq!(code.await, 0);
    }
    let (vault, none) = (Vault::new(), Archive::new(ID, Vec::new()));
    none.store(&vault.objects).await;
    assert_eq!(outcome(&vault, &none, "an empty one").await, 0);
}

#[tokio::test]
async fn a_truncated_or_extended_object_is_refused() {
    let length = archive().object.len();
    for kept in [0, 1, 5, 10, 11, length / 4, length / 2, length - 9, length - 8, length - 4, length - 1] {
        for admitted in [false, true] {
            let said = format!("cut to {kept} of {length} bytes, admitted: {admitted}");
            let code = after(&said, |archive| {
                archive.object.truncate(kept);
                if admitted {
                    admit(archive, false);
                }
            });
            assert_eq!(code.await, 4, "{said}");
        }
    }
    let mut member = GzEncoder::new(Vec::new(), Level::default());
    member.write_all(&state(99, 3)).unwrap();
    let member = member.finish().unwrap();
    for more in [vec![0], vec![0; 512], b"garbage".to_vec(), member] {
        for admitted in [false, true] {
            let code = after("added", |archive| {
                archive.object.extend(&more);
                if admitted {
                    admit(archive, false);
                }
            });
            assert_eq!(code.await, 4, "{more:?} after the end, admitted: {admitted}");
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_in_the_object_is_refused() {
    let length = archive().object.len();
    let places = (0..10).chain((10..length - 8).step_by(length / 10)).chain(length - 8..length);
    for place in places {
        let code = after("a bit", |archive| archive.object[place] ^= 1 << (place % 8));
        assert_eq!(code.await, 4, "bit {} of byte {place} of {length}", place % 8);
    }
}

#[tokio::test]
async fn a_flipped_bit_in_the_manifest_is_refused_or_harmless() {
    let length = archive().manifest.to_string().len();
    let mut refused = 0;
    for place in (0..length).step_by(length / 100) {
        let (vault, whole) = (Vault::new(), archive());
        let mut text = whole.manifest.to_string().into_bytes();
        text[place] ^= 1 << (place % 7);
        whole.store_object(&vault.objects).await;
        vault.objects.put_new(&whole.id.manifest_key(), text, "application/json").await.unwrap();
        let code = outcome(&vault, &whole, "a bit").await;
        assert!([0, 4, 5].contains(&code), "byte {place}: {code}");
        refused += usize::from(code != 0);
    }
    // Changes of the stage, the times and the schema of an index are harmless: the restore was exact.
    assert!(refused > 60, "{refused} refused");
}

#[tokio::test]
async fn missing_objects_and_objects_of_another_snapshot_are_refused() {
    let (one, other) = (archive(), Archive::new("2026-11-20-03-00-00", lines(2, 3, 10)));

    let vault = Vault::new();
    assert_eq!(vault.exit_code("latest").await.0, 4, "none at all");
    one.store_object(&vault.objects).await;
    assert_eq!(outcome(&vault, &one, "no manifest").await, 4);
    assert_eq!(vault.exit_code("latest").await.0, 4, "what has no manifest is no snapshot");

    let vault = Vault::new();
    one.store_manifest(&vault.objects).await;
    assert_eq!(outcome(&vault, &one, "no object").await, 4);

    let vault = Vault::new();
    Archive { object: other.object.clone(), ..one.clone() }.store(&vault.objects).await;
    Archive { object: one.object.clone(), ..other.clone() }.store(&vault.objects).await;
    assert_eq!(outcome(&vault, &one, "objects swapped").await, 4);
    assert_eq!(vault.exit_code("2026-11-20-03-00-00").await.0, 4);

    let vault = Vault::new();
    Archive { manifest: other.manifest.clone(), ..one.clone() }.store(&vault.objects).await;
    other.store(&vault.objects).await;
    assert_eq!(outcome(&vault, &one, "another's manifest").await, 4);

    let vault = Vault::new();
    let mut foreign = one.clone();
    foreign.manifest["object"] = other.manifest["object"].clone();
    foreign.store(&vault.objects).await;
    other.store(&vault.objects).await;
    assert_eq!(outcome(&vault, &one, "a manifest that names another's object").await, 4);
}

#[tokio::test]
async fn lines_that_were_changed_under_the_old_hash_are_refused() {
    type Change = fn(&mut Vec<Vec<u8>>);
    let changes: [(&str, Change); 4] = [
        ("removed", |lines| drop(lines.pop())),
        ("duplicated", |lines| lines.push(lines[lines.len() - 1].clone())),
        ("reordered", |lines| lines.swap(19, 20)),
        ("replaced", |lines| lines[20] = state(99, 3)),
    ];
    for (said, change) in changes {
        let code = after(said, |archive| {
            let before = archive.manifest["object"]["lineSha256"].clone();
            change(&mut archive.lines);
            archive.seal();
            archive.manifest["object"]["lineSha256"] = before;
        });
        assert_eq!(code.await, 4, "a line {said}");
    }
}

/// Position of the first line that contains this text.
fn place(archive: &Archive, text: &str) -> usize {
    archive.lines.iter().position(|line| String::from_utf8_lossy(line).contains(text)).unwrap()
}

fn rewrite(archive: &mut Archive, place: usize, change: impl Fn(&mut Value)) {
    let mut text: Value = serde_json::from_slice(&archive.lines[place]).unwrap();
    change(&mut text);
    archive.lines[place] = format!("{text}\n").into_bytes();
}

/// All sums of the manifest are computed again, so only the rules of chains and tables can find the damage.
#[tokio::test]
async fn damage_with_correct_checksums_is_found_by_the_chains_and_the_keys() {
    type Change = fn(&mut Archive);
    let changes: [(&str, Change); 26] = [
        ("an entry altered", |archive| rewrite(archive, 1, |line| line["item"]["actor"]["S"] = "user:eve".into())),
        ("an entry's data altered", |archive| rewrite(archive, 1, |line| line["item"]["data"]["S"] = "{}".into())),
        ("an entry removed", |archive| drop(archive.lines.remove(1))),
        ("the first entry removed", |archive| drop(archive.lines.remove(0))),
        ("the last entry removed", |archive| drop(archive.lines.remove(3))),
        ("an entry twice", |archive| archive.lines.insert(2, archive.lines[1].clone())),
        ("entries swapped", |archive| archive.lines.swap(1, 2)),
        ("entries of two chains swapped", |archive| {
            let other = place(archive, "room-1");
            archive.lines.swap(1, other + 1);
        }),
        ("the head altered", |archive| rewrite(archive, 4, |line| line["item"]["seq"]["N"] = "3".into())),
        ("the head's hash altered", |archive| {
            rewrite(archive, 4, |line| line["item"]["hash"] = line["item"]["digestKey"].clone());
        }),
        ("the head removed", |archive| drop(archive.lines.remove(4))),
        ("a state twice", |archive| archive.lines.push(archive.lines[archive.lines.len() - 1].clone())),
        ("two states with one key", |archive| {
            archive.lines.push(archive.lines[archive.lines.len() - 1].clone());
            let last = archive.lines.len() - 1;
            rewrite(archive, last, |line| line["item"]["version"]["N"] = "8".into());
        }),
        ("another table", |archive| rewrite(archive, 30, |line| line["table"] = "users".into())),
        ("the other table", |archive| rewrite(archive, 20, |line| line["table"] = "ledger".into())),
        ("no sort key", |archive| {
            rewrite(archive, 30, |line| drop(line["item"].as_object_mut().unwrap().remove("sk")));
        }),
        ("a number for a key", |archive| rewrite(archive, 30, |line| line["item"]["pk"] = json!({"N": "1"}))),
        ("an empty key", |archive| rewrite(archive, 30, |line| line["item"]["pk"] = json!({"S": ""}))),
        ("a room that is a number", |archive| rewrite(archive, 30, |line| line["item"]["roomId"] = json!({"N": "1"}))),
        ("a type that is none", |archive| rewrite(archive, 30, |line| line["item"]["pk"] = json!({"T": "x"}))),
        ("a key that the function may not write", |archive| {
            rewrite(archive, 30, |line| line["item"]["pk"] = json!({"S": "HEALTH"}));
        }),
        ("a state among the histories", |archive| {
            let mut item: Value = serde_json::from_slice(&state(99, 3)).unwrap();
            archive.lines.insert(0, line("ledger", item["item"].take()));
        }),
        ("a lease", |archive| {
            let lease = json!({"pk": {"S": "LEASE#restore"}, "sk": {"S": "LEASE"}, "progress": {"S": "{}"}});
            archive.lines.push(line("state", lease));
        }),
        ("a connection", |archive| {
            let connection = json!({"pk": {"S": "CONN#L0SM9cOFvHcCIhw="}, "sk": {"S": "META"}, "epoch": {"N": "1"}});
            archive.lines.push(line("state", connection));
        }),
        ("a bucket of a limit", |archive| {
            let bucket = json!({"pk": {"S": "LIMIT#other#nobody"}, "sk": {"S": "META"}, "fullAt": {"N": "1"}});
            archive.lines.push(line("state", bucket));
        }),
        ("an answer that was given", |archive| {
            let answer = json!({"pk": {"S": "ONCE#AAEC"}, "sk": {"S": "META"}, "answer": {"S": "{}"}});
            archive.lines.push(line("state", answer));
        }),
    ];
    for (said, change) in changes {
        let code = after(said, |archive| {
            change(archive);
            archive.seal();
        });
        let code = code.await;
        // A state in the ledger belongs to no chain, but states must come after the ledger.
        assert_eq!(code, 4, "{said}");
    }
}

/// The same for chains of blocks: one that begins with three single entries, and has a head and a marker, and one of
/// four blocks.
#[tokio::test]
async fn damage_of_blocks_with_correct_checksums_is_found() {
    type Change = fn(&mut Archive);
    fn in_entries(archive: &mut Archive, place: usize, from: &str, to: &str) {
        rewrite(archive, place, |line| {
            let text = line["item"]["entries"]["S"].as_str().unwrap();
            assert!(text.contains(from));
            line["item"]["entries"]["S"] = text.replacen(from, to, 1).into();
        });
    }
    let changes: [(&str, Change); 14] = [
        ("an entry altered", |archive| in_entries(archive, 4, "\"actor\":\"open\"", "\"actor\":\"service\"")),
        ("no entries", |archive| rewrite(archive, 4, |line| line["item"]["entries"]["S"] = "[]".into())),
        ("entries of another shape", |archive| rewrite(archive, 4, |line| line["item"]["entries"]["S"] = "{}".into())),
        ("another previous hash", |archive| {
            rewrite(archive, 4, |line| line["item"]["prev"] = line["item"]["digestKey"].clone());
        }),
        ("no positions", |archive| rewrite(archive, 4, |line| drop(line["item"]["applied"].take()))),
        ("a position that is no number", |archive| {
            rewrite(archive, 4, |line| line["item"]["applied"]["S"] = "{\"ada\":\"x\"}".into());
        }),
        ("a block removed", |archive| drop(archive.lines.remove(4))),
        ("the first block removed", |archive| drop(archive.lines.remove(8))),
        ("the last single entry removed", |archive| drop(archive.lines.remove(2))),
        ("a block twice", |archive| archive.lines.insert(9, archive.lines[8].clone())),
        ("blocks swapped", |archive| archive.lines.swap(9, 10)),
        ("blocks of two chains in turn", |archive| archive.lines.swap(4, 9)),
        ("a head that names a later entry", |archive| {
            rewrite(archive, 6, |line| line["item"]["seq"]["N"] = "99".into());
        }),
        ("a head before its blocks", |archive| {
            let head = archive.lines.remove(6);
            archive.lines.insert(3, head);
        }),
    ];
    let whole = || Archive::new(ID, both_forms().into_iter().chain((0..20).map(|number| state(number, 3))).collect());
    assert_eq!(after_of(whole(), "nothing", |_| ()).await, 0);
    for (said, change) in changes {
        let code = after_of(whole(), said, |archive| {
            change(archive);
            archive.seal();
        });
        assert_eq!(code.await, 4, "{said}");
    }
}

#[tokio::test]
async fn malformed_lines_are_refused() {
    let with = |line: &[u8]| {
        let line = line.to_vec();
        move |archive: &mut Archive| {
            archive.lines.push(line.clone());
            archive.seal();
        }
    };
    let whole = state(99, 3);
    let text = String::from_utf8(whole.clone()).unwrap();
    let bomb = format!("{{\"table\":\"state\",\"item\":{{\"pk\":{{\"S\":\"{}\"}}}}}}\n", "x".repeat(LINE_BYTES_MAX));
    for (said, line) in [
        ("no UTF-8", [b"\xff\xfe".as_slice(), &whole].concat()),
        ("no UTF-8 in a text", text.replace("Microphone", "Micro\u{0}phone").replace('\u{0}', "\u{1}").into_bytes()),
        ("no JSON", b"{\"table\":\"state\",\n".to_vec()),
        ("no object", b"[]\n".to_vec()),
        ("an empty line", b"\n".to_vec()),
        ("not its end", text.trim_end().as_bytes().to_vec()),
        ("blanks", text.replace("\":{", "\": {").into_bytes()),
        ("a member twice", text.replacen("\"isMuted\":", "\"isMuted\":{\"BOOL\":true},\"isMuted\":", 1).into_bytes()),
        ("a member more", text.replacen("\"table\":", "\"extra\":1,\"table\":", 1).into_bytes()),
        ("a line that is too long", bomb.into_bytes()),
    ] {
        assert_eq!(after(said, with(&line)).await, 4, "{said}");
    }
    let code = after("states first", |archive| {
        archive.lines.rotate_right(20);
        archive.seal();
    });
    assert_eq!(code.await, 4);
}

#[tokio::test]
async fn a_malformed_or_false_manifest_is_refused() {
    type Change = fn(&mut Value);
    let changes: [(&str, u8, Change); 15] = [
        ("an older schema", 5, |manifest| manifest["schema"] = 0.into()),
        ("a newer schema", 5, |manifest| manifest["schema"] = 3.into()),
        ("a newer schema of another shape", 5, |manifest| {
            *manifest = json!({"format": "greenroom-snapshot", "schema": 9});
        }),
        ("another format", 4, |manifest| manifest["format"] = "tar".into()),
        ("another snapshot", 4, |manifest| manifest["snapshot"] = "2026-11-20-03-00-00".into()),
        ("no table", 4, |manifest| manifest["tables"] = json!([])),
        ("a table twice", 4, |manifest| manifest["tables"][0] = manifest["tables"][1].clone()),
        ("a table more", 4, |manifest| {
            let table = manifest["tables"][1].clone();
            manifest["tables"].as_array_mut().unwrap().push(table);
        }),
        ("another key", 5, |manifest| manifest["tables"][1]["schema"]["KeySchema"][0]["AttributeName"] = "id".into()),
        ("another type of key", 5, |manifest| {
            manifest["tables"][1]["schema"]["AttributeDefinitions"][0]["AttributeType"] = "N".into();
        }),
        ("no schema", 5, |manifest| manifest["tables"][0]["schema"] = Value::Null),
        ("fewer items", 4, |manifest| manifest["tables"][1]["items"] = 19.into()),
        ("fewer lines", 4, |manifest| manifest["object"]["lines"] = 10.into()),
        ("fewer chains", 4, |manifest| manifest["chains"]["chains"] = 2.into()),
        ("other heads", 4, |manifest| manifest["chains"]["heads"] = "0".repeat(64).into()),
    ];
    for (said, expected, change) in changes {
        assert_eq!(after(said, |archive| change(&mut archive.manifest)).await, expected, "{said}");
    }
    for text in ["", "{", "null", "{}", &" ".repeat(70_000), "\u{0}"] {
        let (vault, whole) = (Vault::new(), archive());
        whole.store_object(&vault.objects).await;
        vault.objects.put_new(&whole.id.manifest_key(), text.as_bytes().to_vec(), "application/json").await.unwrap();
        assert_eq!(outcome(&vault, &whole, text).await, 4, "{text:.20}");
    }
}

/// A known limit: whoever changes a chain and all hashes after it, the head and the manifest gets another valid chain.
/// `docs/ledger.md` describes how that is found.
#[tokio::test]
async fn a_consistently_rewritten_chain_is_accepted() {
    let (vault, other) = (Vault::new(), Archive::new(ID, chain("room-0", 3)));
    other.store(&vault.objects).await;
    assert_eq!(outcome(&vault, &other, "another chain").await, 0);
}

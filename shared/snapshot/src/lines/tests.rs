use super::*;
use aws_sdk_dynamodb::primitives::Blob;
use proptest::prelude::*;

fn encode(lines: &[Vec<u8>], compression: Compression) -> (Vec<u8>, ObjectSummary) {
    let mut encoder = Encoder::new("key", compression);
    let mut stored = Vec::new();
    for line in lines {
        encoder.line(line).unwrap();
        stored.extend(encoder.take());
    }
    let (last, summary) = encoder.finish().unwrap();
    stored.extend(last);
    (stored, summary)
}

fn decode(
    stored: &[u8],
    step: usize,
    compression: Compression,
) -> Result<(Vec<Vec<u8>>, ObjectSummary), SnapshotError> {
    let mut decoder = Decoder::new("key", compression);
    let mut lines = Vec::new();
    for part in stored.chunks(step).map(Some).chain([None]) {
        decoder.push(part.map(<[u8]>::to_vec));
        while let Some(line) = decoder.next_line()? {
            lines.push(line.to_vec());
        }
    }
    Ok((lines, decoder.finish()?))
}

fn ended(line: &[u8]) -> Vec<u8> {
    line.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }).chain([b'\n']).collect()
}

fn compression() -> impl Strategy<Value = Compression> {
    prop_oneof![Just(Compression::Gzip), Just(Compression::None)]
}

fn some_lines() -> Vec<Vec<u8>> {
    (0..500).map(|n| ended(format!("line {n}").as_bytes())).collect()
}

proptest! {
    #[test]
    fn lines_come_back_with_their_sums_whatever_parts_they_arrive_in(
        lines in proptest::collection::vec(any::<Vec<u8>>(), 0..20),
        step in 1..200_usize,
        compression in compression(),
    ) {
        let lines: Vec<_> = lines.iter().map(|line| ended(line)).collect();
        let (stored, written) = encode(&lines, compression);
        let (read, found) = decode(&stored, step, compression).unwrap();
        prop_assert_eq!(read, lines);
        prop_assert_eq!(found, written);
    }

    #[test]
    fn a_flipped_bit_is_never_the_same_object(place in any::<prop::sample::Index>(), bit in 0..8_u8, compression in compression()) {
        let (mut stored, written) = encode(&some_lines(), compression);
        let place = place.index(stored.len());
        stored[place] ^= 1 << bit;
        if let Ok((_, found)) = decode(&stored, 100, compression) {
            prop_assert_ne!(found, written);
        }
    }
}

#[test]
fn a_stream_that_breaks_off_is_damaged() {
    for compression in [Compression::Gzip, Compression::None] {
        let (stored, _) = encode(&some_lines(), compression);
        for kept in [stored.len() - 1, stored.len() - 3, stored.len() - 10] {
            let found = decode(&stored[..kept], 100, compression);
            assert!(matches!(found, Err(SnapshotError::Damaged { .. })), "{compression:?} {kept}: {found:?}");
        }
    }
    assert!(decode(&[], 100, Compression::Gzip).is_err());
}

#[test]
fn bytes_after_the_gzip_stream_are_damage() {
    let (stored, _) = encode(&some_lines(), Compression::Gzip);
    for more in [vec![0], b"more".to_vec(), stored.clone()] {
        for step in [1, 100, usize::MAX] {
            let longer = [stored.clone(), more.clone()].concat();
            let step = step.min(longer.len());
            assert!(decode(&longer, step, Compression::Gzip).is_err(), "{} bytes in steps of {step}", more.len());
        }
    }
}

#[test]
fn a_line_without_end_is_refused_before_it_fills_the_memory() {
    let (stored, _) = encode(&[vec![b'x'; 16 << 20]], Compression::Gzip);
    let mut decoder = Decoder::new("key", Compression::Gzip);
    decoder.push(Some(stored));
    assert!(decoder.next_line().is_err());
    assert!(decoder.lines.len() <= LINE_BYTES_MAX + STEP_BYTES);
}

fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

fn chain(name: &str, length: u64) -> Vec<Item> {
    let mut last = Head::NONE;
    let mut items = Vec::new();
    for seq in 1..=length {
        let mut entry = Entry {
            chain: name.to_owned(),
            seq,
            at: "2026-11-21T10:32:05.000Z".to_owned(),
            actor: "service".to_owned(),
            action: "left".to_owned(),
            data: serde_json::Map::new(),
            prev: last.hash,
            hash: domain::ledger::Hash::NONE,
        };
        entry.hash = entry.digest();
        last = entry.head();
        items.push(Item::from([
            ("pk".to_owned(), text(format!("CHAIN#{name}"))),
            ("sk".to_owned(), text(format!("{seq:012}"))),
            ("at".to_owned(), text(&entry.at)),
            ("actor".to_owned(), text(&entry.actor)),
            ("action".to_owned(), text(&entry.action)),
            ("data".to_owned(), text("{}")),
            ("prev".to_owned(), AttributeValue::B(Blob::new(entry.prev.as_bytes()))),
            ("hash".to_owned(), AttributeValue::B(Blob::new(entry.hash.as_bytes()))),
        ]));
    }
    items.push(Item::from([
        ("pk".to_owned(), text(format!("CHAIN#{name}"))),
        ("sk".to_owned(), text("HEAD")),
        ("seq".to_owned(), AttributeValue::N(last.seq.to_string())),
        ("hash".to_owned(), AttributeValue::B(Blob::new(last.hash.as_bytes()))),
    ]));
    items
}

fn sum(items: &[Item]) -> Result<(BTreeMap<Table, u64>, ChainSummary), String> {
    let mut summing = Summing::default();
    for item in items {
        summing.add(Table::Ledger, item)?;
    }
    summing.finish()
}

#[test]
fn chains_have_the_same_sum_in_whatever_order_they_come() {
    let (a, b) = (chain("room:a", 3), chain("room:b", 2));
    let together = sum(&[a.clone(), b.clone()].concat()).unwrap();
    assert_eq!(sum(&[b.clone(), a.clone()].concat()).unwrap(), together);
    let interleaved: Vec<_> = [&a[0], &b[0], &a[1], &b[1], &b[2], &a[2], &a[3]].into_iter().cloned().collect();
    assert_eq!(sum(&interleaved).unwrap(), together);
    assert_eq!((together.1.chains, together.1.entries, together.0[&Table::Ledger]), (2, 5, 7));
    assert_ne!(sum(&a).unwrap().1.heads, together.1.heads);
}

#[test]
fn a_chain_that_is_not_whole_is_named() {
    let whole = chain("room:a", 4);
    for missing in 0..whole.len() {
        let mut items = whole.clone();
        items.remove(missing);
        assert!(sum(&items).unwrap_err().contains("room:a"), "without {missing}");
    }
    for place in 0..4 {
        let mut items = whole.clone();
        items[place].insert("actor".to_owned(), text("user:eve"));
        assert!(sum(&items).unwrap_err().contains("does not match its hash"));
    }
    let mut items = whole.clone();
    items.swap(1, 2);
    assert!(sum(&items).is_err());
    let mut items = whole;
    items[4].insert("hash".to_owned(), AttributeValue::B(Blob::new([7; 32])));
    assert!(sum(&items).is_err());
}

#[test]
fn a_sum_carries_and_wraps_around() {
    let mut sum = Sum([0xff; 32]);
    let mut one = [0; 32];
    one[31] = 1;
    sum.add(one);
    assert_eq!(sum, Sum([0; 32]));
    sum.add([0x80; 32]);
    sum.add([0x80; 32]);
    assert_eq!(sum.0[31], 0);
    assert_eq!(sum.0[0], 1);
}

//! The Markdown files: their links lead somewhere, the tests that they name exist, and their lines are short.

use crate::support::{read, root};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// The longest line of prose, in characters: as wide as a line of the code.
const LINE_CHARS_MAX: usize = 120;

/// Folders that hold no documents of ours.
const FOREIGN: &[&str] = &[".git", ".greenroom", "node_modules", "target"];

/// Every Markdown file of the tree, relative to its root.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !FOREIGN.contains(&name.as_str()) {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    assert!(found.len() > 10, "{found:?}");
    found.sort();
    found
}

/// The lines outside of fenced code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// A paragraph without its code spans, in which a bracket is no link.
fn without_code(paragraph: &str) -> String {
    paragraph.split('`').step_by(2).collect()
}

/// The targets of the inline links and pictures: `[words](target)`.
fn targets(text: &str) -> Vec<String> {
    let lines: Vec<_> = prose(text).map(|(_, line)| line).collect();
    let text: String = lines.join("\n").split("\n\n").map(without_code).collect();
    text.split("](").skip(1).map(|rest| rest.split([')', ' ']).next().unwrap().to_owned()).collect()
}

/// The anchors that GitHub gives the headings of a document.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen = BTreeMap::<String, usize>::new();
    let headings = prose(text).filter(|(_, line)| line.starts_with('#'));
    let headings = headings.map(|(_, line)| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let kept = heading.to_lowercase();
        let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect::<String>()
    };
    let numbered = headings.map(|heading| {
        let anchor = anchor(heading);
        let times = seen.entry(anchor.clone()).or_default();
        *times += 1;
        if *times == 1 { anchor } else { format!("{anchor}-{}", *times - 1) }
    });
    numbered.collect()
}

/// `a/../b` as `b`, without asking the file system.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut path, component| {
        if component == Component::ParentDir {
            path.pop();
        } else {
            path.push(component);
        }
        path
    })
}

#[test]
fn every_link_within_the_tree_leads_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        for target in targets(&read(&document.display().to_string())) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = if file.is_empty() { document.clone() } else { normal(&document.with_file_name("").join(file)) };
            let is_there = root().join(&path).exists()
                && (anchor.is_empty() || anchors(&read(&path.display().to_string())).contains(anchor));
            if !is_there {
                broken.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn lines_of_prose_are_short() {
    let mut long = Vec::new();
    for document in documents() {
        let text = read(&document.display().to_string());
        for (number, line) in prose(&text) {
            // A row of a table and the definition of a link cannot be broken.
            let is_whole = line.starts_with('|') || (line.starts_with('[') && line.contains("]: "));
            if !is_whole && line.chars().count() > LINE_CHARS_MAX {
                long.push(format!("{}:{number}", document.display()));
            }
        }
    }
    assert!(long.is_empty(), "break these lines at {LINE_CHARS_MAX} characters:\n{}", long.join("\n"));
}

/// The sources of the package that the first word of a test's name stands for.
fn sources_of(word: &str) -> Option<&'static str> {
    Some(match word {
        "domain" => "shared/domain/src",
        "aws" => "shared/aws/src",
        "config" => "shared/config/src",
        "store" => "shared/store/src",
        "telemetry" => "shared/telemetry/src",
        "snapshot" => "shared/snapshot/src",
        "functions" => "functions/src",
        "local" => "local/src",
        _ => return None,
    })
}

/// Whether a test of this name, or a file of tests, is in the sources.
fn is_a_test(name: &str) -> bool {
    if let Some((file, title)) = name.split_once(": ") {
        let path = root().join(file);
        return path.is_file() && read(file).contains(&format!("test('{title}'"));
    }
    let words: Vec<_> = name.split("::").collect();
    let (folder, words) = sources_of(words[0]).map_or(("tests/api", &words[..]), |folder| (folder, &words[1..]));
    // The longest prefix that is a file. The rest names a function in the file, or is empty.
    let file = (1..=words.len()).rev().find_map(|length| {
        let file = format!("{folder}/{}.rs", words[..length].join("/"));
        root().join(&file).is_file().then_some((file, &words[length..]))
    });
    let Some((file, rest)) = file else { return false };
    let text = read(&file);
    match rest {
        [] => text.contains("#[test]") || text.contains("#[tokio::test"),
        [function] => text.contains(&format!("fn {function}(")),
        _ => false,
    }
}

#[test]
fn every_test_that_the_invariants_name_exists() {
    let page = read("docs/invariants.md");
    let names: Vec<_> = prose(&page).filter_map(|(_, line)| line.strip_prefix("  * `")?.strip_suffix('`')).collect();
    assert!(names.len() > 50, "docs/invariants.md must name each test as \"  * `name`\"");
    let missing: Vec<_> = names.into_iter().filter(|name| !is_a_test(name)).collect();
    assert!(missing.is_empty(), "docs/invariants.md names tests that do not exist:\n{}", missing.join("\n"));
}

#[test]
fn links_and_anchors_are_read_as_github_reads_them() {
    let text =
        "# One `thing`: more\n\n[a](b.md#c) `[no](link)`\n\n```\n[code](x)\n# no heading\n```\n\n## Two\n## Two\n";
    assert_eq!(targets(text), ["b.md#c"]);
    assert_eq!(anchors(text), ["one-thing-more", "two", "two-1"].map(str::to_owned).into());
}

/// What the bill of ten people may be, in dollars: at list price, within what is free for ever, and a million mute flips.
const LIST_MAX: f64 = 9.00;
const FREE_MAX: f64 = 5.00;
const FLIPS_MAX: f64 = 5.00;
/// What an hour of eleven people who use everything in a room may cost, at list price.
const MEETING_MAX: f64 = 0.15;

/// The numbers in the row of the cost report that begins with this name.
fn amounts(report: &str, name: &str) -> Vec<f64> {
    let row = report.lines().find(|line| line.starts_with(&format!("| **{name}** |")));
    let row = row.unwrap_or_else(|| panic!("docs/cost.md has no row {name}"));
    let cells = row.split('|').map(|cell| cell.trim().trim_matches('*').replace(',', ""));
    cells.filter_map(|cell| cell.parse().ok()).collect()
}

/// The figures of the cost report that are too high.
fn too_high(report: &str) -> Vec<String> {
    let bill = amounts(report, "ten people with agents, all in");
    let flips = amounts(report, "a million mute flips with their history");
    let ([list, free], [flips]) = (bill.as_slice(), flips.as_slice()) else { panic!("{bill:?} {flips:?}") };
    let figures = [("list price", *list, LIST_MAX), ("free", *free, FREE_MAX), ("flips", *flips, FLIPS_MAX)];
    let high = figures.into_iter().filter(|(_, figure, most)| figure > most);
    high.map(|(name, figure, most)| format!("{name}: {figure} is over {most}")).collect()
}

#[test]
fn ten_people_cost_at_most_nine_dollars_at_list_price_and_five_within_what_is_free() {
    let report = read("docs/cost.md");
    assert_eq!(too_high(&report), Vec::<String>::new(), "docs/cost.md, written by xtask/src/cost.rs");
}

#[test]
fn an_hour_of_eleven_people_costs_at_most_fifteen_cents_at_list_price() {
    let report = read("docs/cost.md");
    let hour = amounts(&report, "an hour with eleven people, all in");
    let [_requests, _reads, _writes, _sent, list, free] = hour.as_slice() else { panic!("{hour:?}") };
    assert!(free <= list && *list <= MEETING_MAX, "{list} at list price, {free} within what is free");
}

#[test]
fn a_bill_that_is_too_high_is_noticed() {
    let report = |list, free, flips| {
        format!(
            "| **ten people with agents, all in** | | **{list}** | **{free}** |\n\
             | **a million mute flips with their history** | **{flips}** |\n"
        )
    };
    assert!(too_high(&report("9.00", "5.00", "5.00")).is_empty());
    assert_eq!(too_high(&report("9.01", "5.00", "5.00")).len(), 1);
    assert_eq!(too_high(&report("1,009.00", "5.01", "5.01")).len(), 3);
}

//! Crates and modules form layers: none of them uses itself through a chain of others.

use crate::support::{read, sources};
use std::collections::{BTreeMap, BTreeSet};

/// Which modules each module uses, by their paths below the crate's root, such as `gateway::http`.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// The path of the module that a file of `folder` holds; empty for the root of the crate.
fn module(folder: &str, file: &str) -> String {
    let path = file.strip_prefix(folder).unwrap().trim_start_matches('/').trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if ["lib", "main"].contains(&path) { String::new() } else { path.replace('/', "::") }
}

/// The paths that a file names below `crate::` and, in its own imports, below `super::`. A list in braces is taken apart.
fn named(text: &str, parent: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or_default().lines();
    let code: Vec<_> = code.map(|line| line.split("//").next().unwrap_or_default().trim()).collect();
    // `pub(in crate::gateway)` says who may use something, and uses nothing.
    let code = code.join(" ").replace("(in crate::", "(in ");
    let of_parent =
        |rest: &str| if parent.is_empty() { rest.to_owned() } else { format!("{parent}::{}", rest.trim_start()) };
    let from_root = code.split("crate::").skip(1).map(str::to_owned);
    let from_parent = code.split("use super::").skip(1).map(of_parent);
    let mut named = Vec::new();
    for path in from_root.chain(from_parent) {
        let end = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':');
        let stem = path.split(end).next().unwrap_or_default();
        named.push(stem.to_owned());
        if let Some(list) = path[stem.len()..].strip_prefix('{') {
            let members = list.split('}').next().unwrap_or_default().split(',').map(str::trim);
            named.extend(members.map(|member| format!("{stem}{}", member.split(end).next().unwrap_or_default())));
        }
    }
    named
}

/// The module of the crate that a path names, or that holds the named item.
fn leads_to(path: &str, modules: &BTreeSet<String>) -> Option<String> {
    let mut path = path.trim_end_matches("::");
    loop {
        if modules.contains(path) {
            return Some(path.to_owned());
        }
        path = path.rsplit_once("::")?.0;
    }
}

fn uses(folder: &str) -> Uses {
    let files: Vec<_> = sources(folder).into_iter().map(|(file, text)| (module(folder, &file), text)).collect();
    let modules: BTreeSet<_> = files.iter().map(|(module, _)| module.clone()).filter(|path| !path.is_empty()).collect();
    let of = |(module, text): &(String, String)| {
        let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
        // The module of a folder re-exports items of its files, so it uses all of them.
        let children = modules.iter().filter(|path| path.rsplit_once("::").is_some_and(|(folder, _)| folder == module));
        let used = named(text, parent).into_iter().filter_map(|path| leads_to(&path, &modules));
        (module.clone(), used.chain(children.cloned()).filter(|path| path != module).collect())
    };
    files.iter().filter(|(module, _)| !module.is_empty()).map(of).collect()
}

/// A cycle, if there is one: a chain of modules that ends where it began.
fn cycle(uses: &Uses) -> Option<Vec<String>> {
    fn follow(uses: &Uses, chain: &mut Vec<String>, done: &mut BTreeSet<String>) -> bool {
        let last = chain.last().unwrap().clone();
        for next in &uses[&last] {
            if let Some(begin) = chain.iter().position(|module| module == next) {
                chain.drain(..begin);
                chain.push(next.clone());
                return true;
            }
            if !done.contains(next) {
                chain.push(next.clone());
                if follow(uses, chain, done) {
                    return true;
                }
                chain.pop();
            }
        }
        done.insert(last);
        false
    }
    let mut done = BTreeSet::new();
    uses.keys().find_map(|module| {
        let mut chain = vec![module.clone()];
        follow(uses, &mut chain, &mut done).then_some(chain)
    })
}

#[test]
fn the_modules_of_the_runner_and_of_the_agent_form_layers() {
    for folder in ["local/src", "agent/src"] {
        let uses = uses(folder);
        assert!(
            uses.values().map(BTreeSet::len).sum::<usize>() > uses.len(),
            "{folder}: too few uses were found: {uses:?}"
        );
        if let Some(cycle) = cycle(&uses) {
            panic!("{folder}: {} is a cycle: move what both ends need into a module below them", cycle.join(" → "));
        }
    }
}

#[test]
fn a_cycle_is_found_however_it_is_written() {
    let modules: BTreeSet<String> = ["a", "b", "c::d", "c::e"].map(str::to_owned).into();
    for (text, parent, found) in [
        ("use crate::b;\n", "", vec!["b"]),
        ("use crate::b::{\n    Thing,\n    c,\n};\n", "", vec!["b"]),
        ("use crate::{a, c::d};\n", "", vec!["a", "c::d"]),
        ("    let x = crate::c::e::make();\n", "", vec!["c::e"]),
        ("use super::d::Thing;\n", "c", vec!["c::d"]),
        ("pub use super::e;\n", "c", vec!["c::e"]),
        ("// crate::b\n#[cfg(test)]\nmod tests { use crate::a; }\n", "", vec![]),
    ] {
        let leads: Vec<_> = named(text, parent).iter().filter_map(|path| leads_to(path, &modules)).collect();
        let mut leads: Vec<_> = leads.iter().map(String::as_str).collect();
        leads.dedup();
        assert_eq!(leads, found, "{text}");
    }
    let uses = |edges: &[(&str, &str)]| -> Uses {
        let mut uses = Uses::new();
        for (from, to) in edges {
            uses.entry((*from).to_owned()).or_default().insert((*to).to_owned());
            uses.entry((*to).to_owned()).or_default();
        }
        uses
    };
    assert_eq!(cycle(&uses(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
    assert_eq!(cycle(&uses(&[("a", "b"), ("b", "c"), ("c", "b")])).unwrap(), ["b", "c", "b"]);
}

/// Each crate and the crates of this workspace that it may use: an arrow points down, never up.
const CRATES: &[(&str, &[&str])] = &[
    ("shared/domain", &[]),
    ("shared/aws", &[]),
    ("shared/telemetry", &["domain"]),
    ("shared/config", &["domain"]),
    ("shared/store", &["aws", "domain", "telemetry"]),
    ("shared/cloudwatch", &["aws", "domain", "telemetry"]),
    ("shared/snapshot", &["aws", "config", "domain", "store", "telemetry"]),
    ("functions", &["aws", "cloudwatch", "config", "domain", "snapshot", "store", "telemetry"]),
    ("local", &["aws", "config", "domain", "functions", "snapshot", "store", "telemetry"]),
    ("agent", &["domain"]),
    ("xtask", &["config", "domain", "functions", "telemetry"]),
];

/// Libraries, and the only crates that may depend on them.
const RESERVED: &[(&str, &[&str])] = &[
    ("aws-sdk-cloudwatch", &["cloudwatch"]),
    ("aws-sdk-s3", &["local", "snapshot"]),
    ("cpal", &["agent"]),
    ("dynoxide-rs", &["local"]),
    ("lambda_http", &["functions", "local"]),
];

#[test]
fn the_crates_form_layers() {
    for (folder, may) in CRATES {
        let manifest = read(&format!("{folder}/Cargo.toml"));
        // The dependencies of a crate's tests are not restricted.
        let dependencies = manifest.split("[dev-dependencies]").next().unwrap();
        let uses = |name: &str| dependencies.lines().any(|line| line.split(['.', ' ', '=']).next() == Some(name));
        for (other, _) in CRATES {
            let other = other.rsplit('/').next().unwrap();
            assert!(!uses(other) || may.contains(&other), "{folder} may not use {other}");
        }
        for (library, crates) in RESERVED {
            let own = folder.rsplit('/').next().unwrap();
            assert!(!uses(library) || crates.contains(&own), "{folder} may not use {library}");
        }
    }
}

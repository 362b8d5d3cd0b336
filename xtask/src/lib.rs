//! The work of the chores; `main.rs` only reads the command line.

mod asyncapi;
pub mod cost;
mod endpoints;
mod environment;
mod events;
mod openapi;
mod schemas;
mod template;
mod verdicts;

use functions::DECLARED;
use functions::function::Declared;
use std::fs;
use std::path::Path;

/// A generated file: its name and its text.
pub type Generated = (String, String);

/// All files that are generated from the functions' declarations and from the vocabulary of `config` and `domain`.
///
/// # Errors
/// A part of `infra/` or a handler cannot be read or has not the expected content.
pub fn generated(root: &Path) -> Result<Vec<Generated>, String> {
    let part = |name: &str| read(root, &format!("infra/{name}.yaml"));
    let purpose = |declared: &Declared| {
        let file = source(declared);
        endpoints::purpose(&read(root, &file)?).ok_or_else(|| format!("{file}: its first line must state its purpose"))
    };
    let openapi = openapi::text(&read(root, "infra/openapi.json")?, purpose)?;
    let asyncapi = asyncapi::text(&read(root, "infra/asyncapi.json")?, &openapi, purpose)?;
    let mut files = vec![
        ("template.yaml".to_owned(), template::text(part, purpose)?),
        ("docs/openapi.json".to_owned(), openapi),
        ("docs/asyncapi.json".to_owned(), asyncapi),
        ("docs/endpoints.md".to_owned(), endpoints::markdown(purpose)?),
        ("docs/cost.md".to_owned(), cost::markdown()),
        ("docs/environment.md".to_owned(), environment::markdown()),
        ("docs/verdicts.md".to_owned(), verdicts::markdown()),
    ];
    for declared in DECLARED {
        files.push((format!("events/{}.json", declared.name), events::text(declared)?));
        files.push((format!("{BINARIES}/{}.rs", declared.name), template::binary(declared)));
    }
    Ok(files)
}

const BINARIES: &str = "functions/src/bin";

/// The file of a handler.
#[must_use]
pub fn source(declared: &Declared) -> String {
    format!("functions/src/{}/{}.rs", declared.group, declared.name)
}

/// Generated files of functions that no longer exist.
///
/// # Errors
/// A folder cannot be read.
pub fn left_over(root: &Path) -> Result<Vec<String>, String> {
    let mut left_over = Vec::new();
    for (folder, extension) in [("events", "json"), (BINARIES, "rs")] {
        for entry in fs::read_dir(root.join(folder)).map_err(|error| format!("{folder}: {error}"))? {
            let name = entry.map_err(|error| format!("{folder}: {error}"))?.file_name().to_string_lossy().into_owned();
            let stem = name.strip_suffix(extension).and_then(|name| name.strip_suffix('.'));
            if stem.is_none_or(|stem| functions::function::declared(stem).is_none()) {
                left_over.push(format!("{folder}/{name}"));
            }
        }
    }
    Ok(left_over)
}

/// Writes the generated files that have changed, and removes those that are left over. Returns the names of both.
///
/// # Errors
/// A file cannot be read or written.
pub fn docs(root: &Path) -> Result<Vec<String>, String> {
    let mut touched = Vec::new();
    for (file, text) in generated(root)? {
        if read(root, &file).ok().as_deref() != Some(&text) {
            write(root, &file, &text)?;
            touched.push(file);
        }
    }
    for file in left_over(root)? {
        fs::remove_file(root.join(&file)).map_err(|error| format!("{file}: {error}"))?;
        touched.push(file);
    }
    Ok(touched)
}

/// A new endpoint.
#[derive(Debug)]
pub struct Endpoint<'a> {
    module: &'a str,
    name: &'a str,
    method: &'a str,
    path: &'a str,
}

impl<'a> Endpoint<'a> {
    /// Checks the arguments of the command.
    ///
    /// # Errors
    /// The text names the invalid argument.
    pub fn new(module: &'a str, name: &'a str, method: &'a str, path: &'a str) -> Result<Self, String> {
        let word = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_lowercase())
                && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        if !word(module) || !word(name) {
            return Err("MODULE and NAME are lower_snake_case".to_owned());
        }
        if !["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method) {
            return Err("METHOD is GET, POST, PUT, PATCH or DELETE".to_owned());
        }
        let path_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"/{}._-".contains(&byte);
        if !path.starts_with("/api/") || !path.bytes().all(path_byte) {
            return Err("PATH is like '/api/users/{userId}/volume'".to_owned());
        }
        Ok(Self { module, name, method, path })
    }

    /// Creates the handler and its test, and adds the endpoint to the list of functions. Run [`docs`] for the generated
    /// files after this was compiled. Returns the names of the files.
    ///
    /// # Errors
    /// The endpoint already exists, or a file cannot be read or written. If it already exists, nothing was changed.
    pub fn write(&self, root: &Path) -> Result<Vec<String>, String> {
        const LIST: &str = "functions/src/lib.rs";
        let Self { module, name, .. } = self;
        let handler = format!("functions/src/{module}/{name}.rs");
        let test = format!("tests/api/routes/{module}/{name}.rs");
        for file in [&handler, &test] {
            if root.join(file).exists() {
                return Err(format!("{file} exists already"));
            }
        }
        let list = self.listed(&read(root, LIST)?)?;
        let files = [(handler, self.handler()), (test, self.test()), (LIST.to_owned(), list)];
        for (file, text) in &files {
            write(root, file, text)?;
        }
        Ok(files.map(|(file, _)| file).into())
    }

    fn handler(&self) -> String {
        let Self { method, path, .. } = self;
        let parameters: Vec<_> = path.split('/').filter_map(parameter).collect();
        let note = match parameters.as_slice() {
            [] => String::new(),
            names => format!("/// Path parameters: {}; read them with `crate::http::path`.\n///\n", names.join(", ")),
        };
        let types = match *method {
            "GET" => "`.gives::<Answer>(200, \"Its meaning.\")`",
            _ => "`.takes::<Body>().gives::<Answer>(200, \"Its meaning.\")`",
        };
        format!(
            "//! `{method} {path}`: state its purpose here.\n\n\
             use crate::auth::{{Act, Caller}};\n\
             use crate::function::{{Function, route}};\n\
             use crate::{{Context, Reply, Request}};\n\
             use store::{{Kind, Refusal}};\n\n\
             // Once it is written: {types}, with types that derive `JsonSchema`.\n\
             pub(crate) const FUNCTION: Function = route!({method} \"{path}\").answers(501, 501);\n\n\
             /// 501: it is declared, but not implemented yet.\n\
             const NOT_WRITTEN: Refusal = Refusal::new(Kind::Unwritten, \"not_implemented\", \"this is not written yet\");\n\n\
             {note}/// # Errors\n/// 401 without a caller; 501 until it is implemented.\n\
             pub(crate) async fn handle(context: Context, request: Request) -> Reply {{\n    \
             // Replace this act by one of its own in auth.rs.\n    Caller::of(&context, &request)?.must(Act::ReadMetrics)?;\n\n    \
             Err(NOT_WRITTEN.into())\n}}\n"
        )
    }

    fn test(&self) -> String {
        let method = self.method;
        let path = events::example_path(self.path);
        format!(
            "use crate::support::{{Runner, refused}};\n\n#[test]\nfn it_is_not_written_yet() {{\n    \
             let runner = Runner::ephemeral();\n    \
             refused(&runner.send(\"{method}\", \"{path}\", &[], \"\"), 501, \"not_implemented\");\n}}\n"
        )
    }

    /// The list of all functions with this one added.
    fn listed(&self, text: &str) -> Result<String, String> {
        let Self { module, name, .. } = self;
        let endpoints = "\n    endpoints {\n";
        let start = text.find(endpoints).ok_or("functions/src/lib.rs: no list of endpoints found")?;
        let listed = start + endpoints.len();
        let opening = format!("        {module} {{");
        let Some(at) = text[listed..].find(&opening).map(|at| listed + at + opening.len()) else {
            return Ok(format!("{}        {module} {{ {name} }}\n{}", &text[..listed], &text[listed..]));
        };
        let separator = if text[at..].starts_with('\n') { "\n            " } else { " " };
        Ok(format!("{}{separator}{name},{}", &text[..at], &text[at..]))
    }
}

/// The name of the parameter in a segment of a path, if the segment is a parameter.
fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

fn read(root: &Path, file: &str) -> Result<String, String> {
    fs::read_to_string(root.join(file)).map_err(|error| format!("{file}: {error}"))
}

fn write(root: &Path, file: &str, text: &str) -> Result<(), String> {
    let path = root.join(file);
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(&path, text)).map_err(|error| format!("{file}: {error}"))
}

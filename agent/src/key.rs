//! The pairing file: the person, the server, and the secret key for signatures.

use crate::server::{ServerUrl, UrlError};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use domain::{AgentId, PublicKey, SigningKey, UserId};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Why the pairing file cannot be used. Each text also says what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It does not exist.
    #[error(
        "not paired: {0} does not exist; run `greenroom-agent enroll --url URL --user NAME --code CODE` with the code that your page shows"
    )]
    NotPaired(PathBuf),
    /// Other users can read the secret key.
    #[error("{0} can be read by others; run `chmod 600` on it, or pair again")]
    Exposed(PathBuf),
    /// It is not a pairing file of this program.
    #[error("{0} is not a pairing of greenroom-agent; pair again")]
    Malformed(PathBuf),
    /// The address of its server is not allowed.
    #[error("the server in {0} is not usable: its address {1}; pair again")]
    Server(PathBuf, UrlError),
    /// The file system refused.
    #[error("{0} cannot be used: {1}; choose another place with --config")]
    Io(PathBuf, #[source] io::Error),
    /// Neither `XDG_CONFIG_HOME` nor a home directory is known.
    #[error("there is no configuration directory; name the file with --config")]
    NoDirectory,
}

/// A pairing of this agent with a person.
#[derive(Clone)]
pub struct Pairing {
    /// The server.
    pub url: ServerUrl,
    /// The person whose microphone is measured.
    pub user_id: UserId,
    /// The agent's id.
    pub agent_id: AgentId,
    /// The key that signs the agent's requests.
    pub key: SigningKey,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stored {
    url: String,
    user_id: UserId,
    agent_id: AgentId,
    secret_key: String,
}

/// A new key from the system's random numbers.
///
/// # Errors
/// The system provides no random numbers.
pub fn generate() -> io::Result<SigningKey> {
    let mut seed = [0; 32];
    getrandom::getrandom(&mut seed).map_err(io::Error::from)?;
    Ok(SigningKey::from_bytes(&seed))
}

/// The public key in the form of the protocol.
#[must_use]
pub fn public(key: &SigningKey) -> PublicKey {
    PublicKey::from(key.verifying_key().to_bytes())
}

/// The default place of the pairing file, without `--config`.
///
/// # Errors
/// No configuration directory is known.
pub fn default_path() -> Result<PathBuf, KeyError> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let directory = absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("APPDATA"))
        .or_else(|| std::env::home_dir().map(|home| home.join(".config")));
    Ok(directory.ok_or(KeyError::NoDirectory)?.join("greenroom").join("agent.json"))
}

/// Reads a pairing.
///
/// # Errors
/// It does not exist, is exposed, is malformed, names a server that is not allowed, or cannot be read.
pub fn load(path: &Path) -> Result<Pairing, KeyError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => KeyError::NotPaired(path.to_owned()),
        _ => KeyError::Io(path.to_owned(), error),
    };
    let file = File::open(path).map_err(failed)?;
    if is_exposed(&file).map_err(failed)? {
        return Err(KeyError::Exposed(path.to_owned()));
    }
    let text = io::read_to_string(file).map_err(failed)?;
    let stored: Stored = serde_json::from_str(&text).map_err(|_| KeyError::Malformed(path.to_owned()))?;
    let url = stored.url.parse().map_err(|error| KeyError::Server(path.to_owned(), error))?;
    of_one_key(stored, url).ok_or_else(|| KeyError::Malformed(path.to_owned()))
}

fn of_one_key(stored: Stored, url: ServerUrl) -> Option<Pairing> {
    let seed: [u8; 32] = BASE64_URL_SAFE_NO_PAD.decode(stored.secret_key).ok()?.try_into().ok()?;
    let key = SigningKey::from_bytes(&seed);
    let of_this_key = stored.agent_id == AgentId::of(&public(&key));
    of_this_key.then_some(Pairing { url, user_id: stored.user_id, agent_id: stored.agent_id, key })
}

/// A new pairing file that is not in its final place yet. It is created before the code is used, so that a failed write
/// does not waste the code.
pub struct PairingFile {
    path: PathBuf,
    beside: PathBuf,
    file: File,
}

impl PairingFile {
    /// Makes a new file beside `path`, which only its owner may read.
    ///
    /// # Errors
    /// The file system refused.
    pub fn prepare(path: &Path) -> Result<Self, KeyError> {
        let failed = |error| KeyError::Io(path.to_owned(), error);
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{:016x}", fastrand::u64(..)));
        let beside = path.with_file_name(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&beside).map_err(failed)?;
        Ok(Self { path: path.to_owned(), beside, file })
    }

    /// Writes the pairing and moves it to its place, where it replaces an older one.
    ///
    /// # Errors
    /// The file system refused.
    pub fn keep(mut self, pairing: &Pairing) -> Result<(), KeyError> {
        let stored = Stored {
            url: pairing.url.to_string(),
            user_id: pairing.user_id.clone(),
            agent_id: pairing.agent_id.clone(),
            secret_key: BASE64_URL_SAFE_NO_PAD.encode(pairing.key.to_bytes()),
        };
        let text = serde_json::to_string_pretty(&stored).map_err(io::Error::from);
        let written = text.and_then(|text| writeln!(self.file, "{text}")).and_then(|()| self.file.sync_all());
        let kept = written.and_then(|()| fs::rename(&self.beside, &self.path));
        kept.map_err(|error| KeyError::Io(self.path.clone(), error))
    }
}

impl Drop for PairingFile {
    fn drop(&mut self) {
        // After `keep` the file does not exist any more.
        let _ = fs::remove_file(&self.beside);
    }
}

#[cfg(unix)]
fn is_exposed(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(file.metadata()?.permissions().mode() & 0o077 != 0)
}

/// On other systems, only the user can read a file of the user's profile.
#[cfg(not(unix))]
fn is_exposed(_: &File) -> io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn pairing() -> Pairing {
        let key = generate().unwrap();
        Pairing {
            url: "http://127.0.0.1:3001".parse().unwrap(),
            user_id: "ada".parse().unwrap(),
            agent_id: AgentId::of(&public(&key)),
            key,
        }
    }

    fn kept() -> (TempDir, PathBuf, Pairing) {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("greenroom").join("agent.json");
        let pairing = pairing();
        PairingFile::prepare(&path).unwrap().keep(&pairing).unwrap();
        (directory, path, pairing)
    }

    #[test]
    fn a_pairing_is_read_back() {
        let (_directory, path, kept) = kept();
        let read = load(&path).unwrap();
        assert_eq!((read.url, read.user_id, read.agent_id), (kept.url, kept.user_id, kept.agent_id));
        assert_eq!(read.key.to_bytes(), kept.key.to_bytes());
    }

    #[test]
    fn a_new_pairing_replaces_the_old_one_and_leaves_nothing_else() {
        let (_directory, path, old) = kept();
        let new = pairing();
        PairingFile::prepare(&path).unwrap().keep(&new).unwrap();
        assert_ne!(old.agent_id, new.agent_id);
        assert_eq!(load(&path).unwrap().agent_id, new.agent_id);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_pairing_that_failed_leaves_the_old_one() {
        let (_directory, path, old) = kept();
        drop(PairingFile::prepare(&path).unwrap());
        assert_eq!(load(&path).unwrap().agent_id, old.agent_id);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_may_read_the_pairing_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_directory, path, _) = kept();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(load(&path), Err(KeyError::Exposed(_))));
    }

    #[test]
    fn a_pairing_over_plain_http_with_another_machine_is_refused() {
        let (_directory, path, _) = kept();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("http://127.0.0.1:3001", "http://greenroom.example")).unwrap();
        let refused = load(&path).err().unwrap();
        assert!(matches!(refused, KeyError::Server(_, UrlError::Plain)), "{refused}");
        assert!(refused.to_string().contains("https://"), "{refused}");
    }

    #[test]
    fn a_missing_pairing_and_a_damaged_one_give_different_errors() {
        let (_directory, path, _) = kept();
        let text = fs::read_to_string(&path).unwrap();
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            load(&path)
        };
        assert!(read(&text).is_ok());
        for bad in ["", "{}", &text.replace("agt_", "agx_"), &text.replace("secretKey", "key")] {
            assert!(matches!(read(bad), Err(KeyError::Malformed(_))), "{bad}");
        }
        let other = String::from(pairing().agent_id);
        let stolen: String = text
            .lines()
            .map(|line| if line.contains("agt_") { format!("\"agentId\": \"{other}\",") } else { line.to_owned() })
            .collect();
        assert!(matches!(read(&stolen), Err(KeyError::Malformed(_))), "an agent's id follows from its key");
        assert!(matches!(load(&path.with_extension("none")), Err(KeyError::NotPaired(_))));
    }
}

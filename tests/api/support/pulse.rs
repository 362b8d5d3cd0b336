//! A private sound server with virtual microphones, and the agent under test.

use super::binaries::binary;
use super::process::Process;
use super::witness::{attach, pairing};
use super::{PATIENCE, Runner};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, PipeReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The sound in front of a microphone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sound {
    /// A person speaks, with gaps between words and sentences.
    Speech,
    /// A person speaks through a noise gate: exact zeros between the sentences, for 0.6 s to 2.5 s. Of these, espeak-ng
    /// ends each sentence with 0.3 s.
    Gated,
    /// A quiet room: noise at −70 dBFS.
    Room,
}

/// A private PulseAudio. When dropped, it ends together with the programs that feed it.
pub(crate) struct Pulse {
    daemon: Child,
    feeds: BTreeMap<String, Child>,
    directory: TempDir,
}

impl Pulse {
    /// Starts a sound server without any device.
    pub(crate) fn start() -> Self {
        Self::configured("")
    }

    /// Starts a sound server without any device, whose streams have absolute volumes: the loudest one is the volume of
    /// their device.
    pub(crate) fn flat() -> Self {
        Self::configured("flat-volumes = yes")
    }

    fn configured(configuration: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let folder = directory.path().join(".config/pulse");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("daemon.conf"), configuration).unwrap();
        let daemon = daemon(directory.path());
        let pulse = Self { daemon, feeds: BTreeMap::new(), directory };
        pulse.is_ready();
        pulse
    }

    /// A sound server with one microphone, `desk`, which is the default one.
    pub(crate) fn with_desk() -> Self {
        Self::start().desk()
    }

    /// Adds one microphone, `desk`, and makes it the default one.
    pub(crate) fn desk(self) -> Self {
        self.plug_in("desk", "Desk Microphone");
        self.make_default("desk");
        self
    }

    /// Adds a microphone. It gives exact zeros until a sound is played to it.
    pub(crate) fn plug_in(&self, name: &str, label: &str) {
        if !self.pactl(&["list", "short", "sinks"]).contains(&format!("{name}_air")) {
            let (air, rate) = (format!("sink_name={name}_air"), "rate=48000");
            self.pactl(&["load-module", "module-null-sink", &air, rate, "channels=1"]);
        }
        let label = label.replace(' ', "\\ ");
        self.pactl(&[
            "load-module",
            "module-remap-source",
            &format!("source_name={name}"),
            &format!("master={name}_air.monitor"),
            &format!("source_properties='device.description=\"{label}\"'"),
        ]);
    }

    /// Removes a microphone.
    pub(crate) fn pull(&self, name: &str) {
        let modules = self.pactl(&["list", "short", "modules"]);
        let own = format!("source_name={name} ");
        let module = modules.lines().find(|line| line.contains(&own)).unwrap_or_else(|| panic!("{name}: {modules}"));
        self.pactl(&["unload-module", module.split('\t').next().unwrap()]);
    }

    pub(crate) fn make_default(&self, name: &str) {
        self.pactl(&["set-default-source", name]);
    }

    /// Moves a program's recording to another microphone, as a person does in the mixer.
    pub(crate) fn move_program(&self, program: &str, name: &str) {
        let outputs = self.json("source-outputs").into_iter();
        for output in outputs.filter(|output| output["properties"]["application.name"] == program) {
            // The stream may have ended meanwhile.
            let _ = self.command("pactl").args(["move-source-output", &output["index"].to_string(), name]).output();
        }
    }

    pub(crate) fn mute(&self, name: &str, muted: bool) {
        self.pactl(&["set-source-mute", name, if muted { "1" } else { "0" }]);
    }

    pub(crate) fn volume(&self, name: &str, percent: u32) {
        self.pactl(&["set-source-volume", name, &format!("{percent}%")]);
    }

    pub(crate) fn suspend(&self, name: &str, suspended: bool) {
        self.pactl(&["suspend-source", name, if suspended { "1" } else { "0" }]);
    }

    /// Plays this sound to a microphone for a minute, in place of the sound before.
    pub(crate) fn hears(&mut self, name: &str, sound: Sound) {
        self.hears_nothing(name);
        let raw = self.directory.path().join(format!("{name}.raw"));
        record(sound, &raw);
        let mut pacat = self.command("pacat");
        pacat.args(["--raw", "--rate=48000", "--channels=1", "--format=s16le", "--latency-msec=20", "--device"]);
        pacat.arg(format!("{name}_air")).stdin(std::fs::File::open(raw).unwrap()).stderr(Stdio::null());
        self.feeds.insert(name.to_owned(), pacat.spawn().unwrap());
    }

    /// Ends the sound that is played to a microphone.
    pub(crate) fn hears_nothing(&mut self, name: &str) {
        if let Some(mut feed) = self.feeds.remove(name) {
            let _ = feed.kill();
            let _ = feed.wait();
        }
    }

    /// The volume of a microphone, in percent.
    pub(crate) fn volume_of(&self, name: &str) -> u64 {
        percent(&self.json("sources").into_iter().find(|source| source["name"] == name).unwrap())
    }

    /// Mutes the agent's own stream in the mixer, and not the microphone.
    pub(crate) fn mute_own(&self, muted: bool) {
        let index = self.own_stream()["index"].to_string();
        self.pactl(&["set-source-output-mute", &index, if muted { "1" } else { "0" }]);
    }

    /// Turns the agent's own stream up or down in the mixer, and not the microphone.
    pub(crate) fn volume_own(&self, percent: u32) {
        let index = self.own_stream()["index"].to_string();
        self.pactl(&["set-source-output-volume", &index, &format!("{percent}%")]);
    }

    /// Mute and volume in percent of the agent's own stream; `None` while it has none.
    pub(crate) fn own_now(&self) -> Option<(bool, u64)> {
        let is_own = |stream: &Value| stream["properties"]["application.name"] == "greenroom-agent";
        let own = self.json("source-outputs").into_iter().find(is_own)?;
        Some((own["mute"].as_bool().unwrap(), percent(&own)))
    }

    /// Waits for the agent's own stream, which the agent may be opening at the moment.
    fn own_stream(&self) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let is_own = |stream: &Value| stream["properties"]["application.name"] == "greenroom-agent";
            if let Some(own) = self.json("source-outputs").into_iter().find(is_own) {
                return own;
            }
            assert!(Instant::now() < deadline, "the agent does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn json(&self, what: &str) -> Vec<Value> {
        serde_json::from_str(&self.pactl(&["--format=json", "list", what])).unwrap()
    }

    /// Starts another program that records from a microphone until it is dropped.
    pub(crate) fn other_listener(&self, name: &str) -> Listener {
        let mut parec = self.command("parec");
        let child = parec.args(["--raw", "--device", name]).stdout(Stdio::null()).spawn().unwrap();
        let listener = Listener(child);
        let deadline = Instant::now() + PATIENCE;
        while !self.json("source-outputs").iter().any(|output| listener.is_of(output)) {
            assert!(Instant::now() < deadline, "parec does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        listener
    }

    /// The streams that record: the program's name, the stream's number, and the microphone.
    pub(crate) fn heard(&self) -> Vec<(String, u64, String)> {
        let sources = self.json("sources");
        let name_of = |index: &Value| {
            let source = sources.iter().find(|source| source["index"] == *index);
            source.and_then(|source| source["name"].as_str()).unwrap_or_default().to_owned()
        };
        let outputs = self.json("source-outputs").into_iter();
        // A module that remaps a microphone is no program, and has no name.
        let of_program = |output: Value| {
            let program = output["properties"]["application.name"].as_str()?.to_owned();
            Some((program, output["index"].as_u64()?, name_of(&output["source"])))
        };
        outputs.filter_map(of_program).collect()
    }

    /// The microphone from which this program records.
    #[allow(dead_code, reason = "only a benchmark uses it")]
    pub(crate) fn heard_by(&self, listener: &Listener) -> Option<String> {
        let output = self.json("source-outputs").into_iter().find(|output| listener.is_of(output))?;
        let source = self.json("sources").into_iter().find(|source| source["index"] == output["source"])?;
        Some(source["name"].as_str()?.to_owned())
    }

    /// Moves this program's recording to another microphone, as a person does in the mixer.
    #[allow(dead_code, reason = "only a benchmark uses it")]
    pub(crate) fn move_listener(&self, listener: &Listener, name: &str) {
        for output in self.json("source-outputs").iter().filter(|output| listener.is_of(output)) {
            self.pactl(&["move-source-output", &output["index"].to_string(), name]);
        }
    }

    /// The number of programs that record.
    pub(crate) fn listeners(&self) -> usize {
        let outputs = self.pactl(&["list", "short", "source-outputs"]);
        // A module that remaps a microphone records too, and is no program.
        outputs.lines().filter(|line| !line.contains("module-remap-source")).count()
    }

    /// Stops the process of the sound server, so that it hangs.
    pub(crate) fn stop(&self) {
        kill_process(Pid::from_child(&self.daemon), Signal::STOP).unwrap();
    }

    /// Continues the process of the sound server.
    pub(crate) fn go_on(&self) {
        kill_process(Pid::from_child(&self.daemon), Signal::CONT).unwrap();
    }

    /// Kills the sound server, with all its devices.
    pub(crate) fn kill(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        for (_, mut feed) in std::mem::take(&mut self.feeds) {
            let _ = feed.kill();
            let _ = feed.wait();
        }
        let _ = std::fs::remove_file(self.directory.path().join("native"));
    }

    /// Starts the sound server again, without any device.
    pub(crate) fn restart(&mut self) {
        self.daemon = daemon(self.directory.path());
        self.is_ready();
    }

    /// Runs the agent to its end.
    pub(crate) fn agent(&self, args: &[&str]) -> Output {
        let mut command = Command::new(binary("greenroom-agent"));
        command.args(args).env_clear().envs(self.env()).stdin(Stdio::null()).output().unwrap()
    }

    /// Pairs the agent with a person and attaches it to them, as their page does. Returns the agent's id and the
    /// browser's token.
    pub(crate) fn pair(&self, runner: &Runner, user: &str) -> (String, String) {
        let (code, witness) = pairing(runner, user);
        let enroll = ["enroll", "--url", &runner.url, "--user", user, "--code", &code];
        let (status, paired) = self.agent_json(&enroll);
        assert_eq!((status, paired["userId"].as_str()), (0, Some(user)), "{paired}");
        let attached = attach(runner, user, &witness);
        assert_eq!(attached.status, 200, "{}", attached.text);
        (paired["agentId"].as_str().unwrap().to_owned(), witness)
    }

    /// Runs the agent to its end. Returns its exit code and its JSON.
    pub(crate) fn agent_json(&self, args: &[&str]) -> (i32, Value) {
        let output = self.agent(&[args, &["--json"]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{errors}"));
        (output.status.code().unwrap(), json)
    }

    /// Starts `greenroom-agent watch`.
    pub(crate) fn watch(&self, args: &[&str]) -> Watch {
        let mut command = Command::new(binary("greenroom-agent"));
        command.args(["watch", "--json"]).args(args);
        let env = self.env();
        let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Watch { process: Process::start(&mut command, &env), read: Cell::new(0) }
    }

    /// Starts `greenroom-agent watch` with an output that has no room and that nobody reads.
    pub(crate) fn watch_unread(&self) -> (Listener, PipeReader) {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let flags = fcntl_getfl(&writer).unwrap();
        fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
        while writer.write(&[b' '; 512]).is_ok() {}
        fcntl_setfl(&writer, flags).unwrap();
        let mut command = Command::new(binary("greenroom-agent"));
        command.args(["watch", "--json"]).env_clear().envs(self.env()).stdin(Stdio::null()).stdout(writer);
        (Listener(command.spawn().unwrap()), reader)
    }

    /// Runs `watch --offline` as a person does, without JSON. Calls `act` after the first measurement is shown. Returns
    /// the lines up to the first one that contains `end`.
    pub(crate) fn watch_as_people_do(&self, act: impl FnOnce(&Self), end: &str) -> Vec<String> {
        // `timeout` ends the wait for a line that never comes, and passes a signal on.
        let mut command = Command::new("timeout");
        command.arg(PATIENCE.as_secs().to_string()).arg(binary("greenroom-agent")).args(["watch", "--offline"]);
        command.envs(self.env()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut agent = command.spawn().unwrap();
        let lines = BufReader::new(agent.stdout.take().unwrap()).lines();
        let (mut shown, mut act) = (Vec::new(), Some(act));
        for line in lines.map_while(Result::ok) {
            let ended = line.contains(end);
            shown.push(line);
            if ended {
                break;
            }
            if let Some(act) = act.take_if(|_| shown.len() == 2) {
                act(self);
            }
        }
        kill_process(Pid::from_child(&agent), Signal::TERM).unwrap();
        let _ = agent.wait();
        shown
    }

    fn is_ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.command("pactl").arg("info").output().is_ok_and(|output| output.status.success()) {
                return;
            }
            assert!(Instant::now() < deadline, "PulseAudio does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn pactl(&self, args: &[&str]) -> String {
        let output = self.command("pactl").args(args).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pactl {args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_remove("XDG_CONFIG_HOME").envs(self.env()).stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    pub(crate) fn env(&self) -> [(&'static str, String); 3] {
        let directory = self.directory.path().display();
        [
            ("PULSE_SERVER", format!("unix:{directory}/native")),
            ("HOME", directory.to_string()),
            ("XDG_RUNTIME_DIR", directory.to_string()),
        ]
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The volume of the first channel.
fn percent(device_or_stream: &Value) -> u64 {
    let channel = device_or_stream["volume"].as_object().unwrap().values().next().unwrap();
    channel["value_percent"].as_str().unwrap().trim_end_matches('%').parse().unwrap()
}

/// A program that records. It ends when dropped.
pub(crate) struct Listener(Child);

impl Listener {
    fn is_of(&self, output: &Value) -> bool {
        output["properties"]["application.process.id"] == self.0.id().to_string().as_str()
    }

    /// Stops the program with a signal, and returns its exit code once it has ended.
    pub(crate) fn stop(&mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the program does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn daemon(directory: &Path) -> Child {
    let socket = format!("module-native-protocol-unix socket={}/native auth-anonymous=1", directory.display());
    // The server has a home and a cookie of its own, and no configuration of the machine or the user.
    let mut command = Command::new("pulseaudio");
    command.args(["-n", "--daemonize=no", "--exit-idle-time=-1", "-L", &socket]);
    // This module is loaded on every system. It remembers mute and volume of a program's last stream.
    command.args(["-L", "module-stream-restore"]).env_remove("XDG_CONFIG_HOME");
    command.envs(["HOME", "XDG_RUNTIME_DIR"].map(|name| (name, directory)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Writes a minute of this sound as raw samples: 48 kHz, mono, 16 bits.
fn record(sound: Sound, raw: &Path) {
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let format = ["-r", "48000", "-c", "1", "-b", "16", "-e", "signed-integer", "-t", "raw"];
    match sound {
        Sound::Speech => {
            let wave = raw.with_extension("wav");
            let words =
                "One, two, three: can everybody hear me? I am speaking, with pauses between the words. Thank you.";
            run(Command::new("espeak-ng").arg("-w").arg(&wave).arg(words));
            run(Command::new("sox").arg(&wave).args(format).arg(raw).args(["repeat", "12"]));
        }
        Sound::Gated => {
            let pauses = ["0.3", "0.9", "1.5", "2.2"].into_iter().enumerate();
            let sentences: Vec<_> = pauses
                .map(|(at, pause)| {
                    let [spoken, padded] =
                        ["spoken", "padded"].map(|what| raw.with_extension(format!("{what}{at}.wav")));
                    run(Command::new("espeak-ng").arg("-w").arg(&spoken).arg("This sentence goes through a gate."));
                    // `-D` turns dither off, which would turn zeros into noise.
                    run(Command::new("sox")
                        .arg("-D")
                        .arg(&spoken)
                        .arg(&padded)
                        .args(["silence", "1", "0", "1%", "pad", "0", pause]));
                    padded
                })
                .collect();
            run(Command::new("sox").arg("-D").args(&sentences).args(format).arg(raw).args(["repeat", "6"]));
        }
        // White noise of sox has −4.8 dBFS.
        Sound::Room => run(Command::new("sox").args(["-n"]).args(format).arg(raw).args([
            "synth",
            "60",
            "whitenoise",
            "vol",
            "-65.2dB",
        ])),
    }
}

/// A running `greenroom-agent watch`.
pub(crate) struct Watch {
    process: Process,
    read: Cell<usize>,
}

impl Watch {
    /// Waits for a line that `wanted` accepts, after the line that the last call returned.
    pub(crate) fn says(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let (read, at) = (self.read.get(), Cell::new(0));
        self.process.await_log(|line| {
            at.set(at.get() + 1);
            let found = at.get() > read && wanted(line);
            if found {
                self.read.set(at.get());
            }
            found
        })
    }

    /// Waits for a measurement with this condition, flag, signal and route.
    pub(crate) fn measures(&self, state: [&str; 4]) -> Value {
        let names = ["condition", "flag", "signal", "route"];
        self.says(|line| line["event"] == "observed" && names.iter().zip(state).all(|(name, word)| line[*name] == word))
    }

    #[allow(dead_code, reason = "only a benchmark uses it")]
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// All lines so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.process.log()
    }

    /// Stops the agent with a signal. Returns its exit code and its standard error.
    pub(crate) fn stop(mut self, signal: Signal) -> (i32, String) {
        self.process.signal(signal);
        self.process.wait()
    }

    /// Waits until the agent ends by itself. Returns its exit code and its standard error.
    pub(crate) fn wait(mut self) -> (i32, String) {
        self.process.wait()
    }
}

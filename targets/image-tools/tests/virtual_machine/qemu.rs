//! A virtual machine of QEMU: started, asked over its serial line, and told by QMP over a socket to save its state into a
//! file, or to go on from one. Its processor is emulated, which needs nothing of the host.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Nothing that is waited for takes as long, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(240);

/// What a machine is made of.
pub struct Parts {
    pub qemu: PathBuf,
    /// Where its firmware lies, where that is not where it was built to look.
    pub data: Vec<PathBuf>,
    pub kernel: PathBuf,
    pub initramfs: PathBuf,
}

/// A machine that runs; ended when it goes.
pub struct Machine {
    process: Child,
    serial: ChildStdin,
    said: Receiver<String>,
    qmp: BufReader<UnixStream>,
}

impl Machine {
    /// Boots, until the guest is ready.
    pub fn boot(parts: &Parts, dir: &Path) -> Self {
        let mut machine = Self::start(parts, dir, &[]);
        assert_eq!(machine.heard(), "new");
        machine
    }

    /// Goes on from what was saved.
    pub fn restore(parts: &Parts, dir: &Path) -> Self {
        let mut machine = Self::start(parts, dir, &["-incoming", "defer"]);
        machine.map_memory();
        machine.execute("migrate-incoming", json!({ "uri": uri(&dir.join("memory")) }));
        machine.await_migration();
        machine.execute("cont", json!({}));
        machine
    }

    fn start(parts: &Parts, dir: &Path, more: &[&str]) -> Self {
        let socket = dir.join("qmp.sock");
        let _ = fs::remove_file(&socket);
        let mut command = Command::new(&parts.qemu);
        for data in &parts.data {
            command.arg("-L").arg(data);
        }
        command
            .args(["-machine", "pc,accel=tcg", "-m", "128M", "-nodefaults", "-no-user-config"])
            .args(["-display", "none", "-no-reboot", "-serial", "stdio", "-append", "console=ttyS0 quiet"])
            .arg("-kernel")
            .arg(&parts.kernel)
            .arg("-initrd")
            .arg(&parts.initramfs)
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", socket.display()))
            .args(more);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (serial, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let (sender, said) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let qmp = connect(&socket, &mut process);
        let mut machine = Self { process, serial, said, qmp };
        machine.answer();
        machine.execute("qmp_capabilities", json!({}));
        machine
    }

    /// What the guest holds, after a line on its serial line.
    pub fn tell(&mut self, line: &str) -> String {
        writeln!(self.serial, "{line}").unwrap();
        self.heard()
    }

    fn heard(&mut self) -> String {
        loop {
            let line = self.said.recv_timeout(PATIENCE).expect("the guest answers");
            if let Some(text) = line.trim().strip_prefix("is ") {
                return text.to_owned();
            }
        }
    }

    /// Stops the guest and saves its whole state.
    pub fn save(mut self, file: &Path) {
        self.execute("stop", json!({}));
        self.map_memory();
        self.execute("migrate", json!({ "uri": uri(file) }));
        self.await_migration();
        self.execute("quit", json!({}));
        self.process.wait().unwrap();
    }

    /// Each page of memory has a place of its own in the file.
    fn map_memory(&mut self) {
        let wanted = json!({ "capability": "mapped-ram", "state": true });
        self.execute("migrate-set-capabilities", json!({ "capabilities": [wanted] }));
    }

    fn await_migration(&mut self) {
        let began = Instant::now();
        loop {
            let state = self.execute("query-migrate", json!({}));
            match state["status"].as_str() {
                Some("completed") => return,
                Some("failed") => panic!("{state:#}"),
                _ => assert!(began.elapsed() < PATIENCE, "{state:#}"),
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn execute(&mut self, command: &str, arguments: Value) -> Value {
        // At once: QEMU may have done what it is told before it has read what follows a command.
        let line = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        self.qmp.get_mut().write_all(line.as_bytes()).unwrap();
        loop {
            let mut answer = self.answer();
            assert!(answer.get("error").is_none(), "{line}: {answer:#}");
            // Events come in between.
            if let Some(value) = answer.get_mut("return") {
                return value.take();
            }
        }
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.qmp.read_line(&mut line).expect("QEMU answers");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn uri(file: &Path) -> String {
    format!("file:{}", file.display())
}

fn connect(socket: &Path, process: &mut Child) -> BufReader<UnixStream> {
    let began = Instant::now();
    loop {
        if let Ok(stream) = UnixStream::connect(socket) {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            return BufReader::new(stream);
        }
        let ended = process.try_wait().unwrap();
        assert!(ended.is_none() && began.elapsed() < PATIENCE, "QEMU opens no socket: {ended:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

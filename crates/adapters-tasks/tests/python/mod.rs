//! The server of `server.py`: written in another language, from the proto alone.

use super::Feed;
use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// Names a Python that has what requirements.txt says; `cargo xtask test` installs one.
const VARIABLE: &str = "GUAFEN_TEST_PYTHON";

pub(crate) struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn start() -> Self {
        let named = std::env::var(VARIABLE);
        let python = named.expect("GUAFEN_TEST_PYTHON names a Python with grpcio and grpcio-tools");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(&python)
            .arg(root.join("tests/python/server.py"))
            .arg(root.join("proto"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let input = child.stdin.take().expect("its input");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let mut server = Self {
            child,
            input,
            output,
            url: String::new(),
        };
        let port = server.line();
        server.url = format!("http://127.0.0.1:{port}");
        server
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.trim().to_owned()
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("its input");
        assert_eq!(self.line(), "ok");
    }
}

impl Feed for Server {
    fn happened(&mut self, user: &str, kind: &str, quantity: u64, at: i64) {
        self.tell(&format!("{user} {kind} {quantity} {at}"));
    }

    fn complete(&mut self, until: i64) {
        self.tell(&format!("complete {until}"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

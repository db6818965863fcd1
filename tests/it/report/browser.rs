//! Chromium without a window, driven over its protocol.
//!
//! With `--remote-debugging-pipe` it reads requests from file descriptor 3 and writes answers and events to 4, each a JSON
//! text that a NUL byte ends.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// The version of axe-core that script/test gets.
const AXE: &str = "target/axe-core/package/axe.min.js";

/// What axe-core finds wrong, as one line for each rule and element.
const RUN_AXE: &str = "axe.run(document, { resultTypes: ['violations'] }).then(found => found.violations.flatMap(
    rule => rule.nodes.map(node => `${rule.id}: ${node.html.slice(0, 200)}: ${node.failureSummary}`)))";

/// A browser with one page.
pub struct Browser {
    program: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    session: String,
    last_id: u64,
    /// What the page has complained about: the console, exceptions, refused loads.
    pub complaints: Vec<String>,
    profile: PathBuf,
}

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub struct View {
    pub width: u32,
    pub media: &'static str,
    pub scheme: &'static str,
}

impl Browser {
    /// Starts the browser, which script/test installs.
    pub async fn start() -> Self {
        let profile =
            std::env::temp_dir().join(format!("daybook-browser-{}", uuid::Uuid::new_v4()));
        // The pipes stand on stdin and stdout here, and on 3 and 4 there.
        let script = r#"exec chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
            --disable-extensions --hide-scrollbars --remote-debugging-pipe --user-data-dir="$0" 3<&0 4>&1 >/dev/null 2>&1 </dev/null"#;
        let mut program = Command::new("sh")
            .args(["-c", script])
            .arg(&profile)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("a shell");
        let requests = program.stdin.take().unwrap();
        let answers = BufReader::new(program.stdout.take().unwrap());
        let mut browser = Self {
            program,
            requests,
            answers,
            session: String::new(),
            last_id: 0,
            complaints: Vec::new(),
            profile,
        };
        let target = browser
            .call("Target.createTarget", json!({ "url": "about:blank" }))
            .await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach).await;
        browser.session = session["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Runtime.enable", "Log.enable", "Page.enable"] {
            browser.call(domain, json!({})).await;
        }
        browser
    }

    /// Sends a request and waits for its answer.
    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let mut request = json!({ "id": id, "method": method, "params": params });
        if !self.session.is_empty() {
            request["sessionId"] = json!(self.session);
        }
        let bytes = [request.to_string().as_bytes(), b"\0"].concat();
        self.requests
            .write_all(&bytes)
            .await
            .expect("chromium takes a request: script/test installs it");
        loop {
            let message = self.message().await;
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
        }
    }

    /// The next message; complaints are noted.
    async fn message(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.answers
            .read_until(0, &mut bytes)
            .await
            .expect("chromium answers");
        assert!(
            !bytes.is_empty(),
            "chromium has ended: script/test installs it"
        );
        let message: Value = serde_json::from_slice(&bytes[..bytes.len() - 1]).expect("JSON");
        let method = message["method"].as_str().unwrap_or_default();
        if matches!(
            method,
            "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded"
        ) {
            self.complaints.push(message["params"].to_string());
        }
        message
    }

    /// Opens a file and waits until it is loaded.
    pub async fn open(&mut self, path: &Path, view: View) {
        let metrics = json!({ "width": view.width, "height": 900, "deviceScaleFactor": 1, "mobile": view.width < 500 });
        self.call("Emulation.setDeviceMetricsOverride", metrics)
            .await;
        let scheme = json!({ "name": "prefers-color-scheme", "value": view.scheme });
        let media = json!({ "media": view.media, "features": [scheme] });
        self.call("Emulation.setEmulatedMedia", media).await;
        let url = url::Url::from_file_path(path).expect("an absolute path");
        let answer = self
            .call("Page.navigate", json!({ "url": url.as_str() }))
            .await;
        assert!(answer["errorText"].is_null(), "{answer}");
        while self.message().await["method"] != "Page.loadEventFired" {}
    }

    /// The value of an expression.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", params).await;
        assert!(
            answer["exceptionDetails"].is_null(),
            "{}",
            answer["exceptionDetails"]
        );
        answer["result"]["value"].clone()
    }

    /// What axe-core finds wrong on the page.
    pub async fn accessibility_problems(&mut self) -> Vec<String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(AXE);
        let axe = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{AXE}: {error}: run script/test, which gets it"));
        self.evaluate(&(axe + "; true")).await;
        let found = self.evaluate(RUN_AXE).await;
        serde_json::from_value(found).expect("lines")
    }

    pub async fn end(mut self) {
        self.program.kill().await.expect("kill");
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}

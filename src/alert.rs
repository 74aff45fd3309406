//! Telling people that something has happened by itself.
//!
//! Owns: [`Alerts`], a webhook and a command. Must not know: what happened, or whether somebody has seen to it.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use crate::error::{Code, Error, Result};

/// How long either may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where alerts go.
#[derive(Clone, Debug, Default)]
pub struct Alerts {
    /// Gets JSON by POST, with the `text` that Slack and others show.
    pub webhook: Option<SecretString>,
    /// A program with its arguments, which gets the same JSON on its standard input.
    pub command: Vec<String>,
}

/// What has happened.
#[derive(Clone, Debug)]
pub struct Alert {
    /// In a sentence, for people.
    pub text: String,
    /// `dashboard/name`
    pub query: String,
    /// In a word.
    pub reason: &'static str,
    /// How often it has been told already.
    pub repeated: bool,
}

impl Alerts {
    /// Tells it, both ways; what cannot be told is logged, since nobody waits for it.
    pub async fn tell(&self, alert: &Alert) {
        tracing::error!(query = alert.query, reason = alert.reason, repeated = alert.repeated, "{}", alert.text);
        let body = json!({
            "text": alert.text, "query": alert.query, "reason": alert.reason, "repeated": alert.repeated,
        });
        if let Some(url) = &self.webhook
            && let Err(error) = post(url, &body).await
        {
            tracing::error!(error = %error.chain(), "the alert's webhook cannot be told");
        }
        if let [program, arguments @ ..] = self.command.as_slice() {
            let (program, arguments) = (program.clone(), arguments.to_vec());
            let input = body.to_string();
            let told = tokio::task::spawn_blocking(move || run(&program, &arguments, &input)).await;
            match told {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(error = %error.chain(), "the alert's command cannot be told"),
                Err(error) => tracing::error!(%error, "the alert's command cannot be told"),
            }
        }
    }
}

async fn post(url: &SecretString, body: &serde_json::Value) -> Result<()> {
    // The address may be a secret, as Slack's is: no error shows it.
    let wrong = |error: reqwest::Error| Error::new(Code::Unavailable, format!("the webhook: {}", error.without_url()));
    let client = reqwest::Client::builder().timeout(TIMEOUT).build().map_err(wrong)?;
    let sent = client.post(url.expose_secret()).json(body).send().await;
    sent.and_then(reqwest::Response::error_for_status).map(drop).map_err(wrong)
}

fn run(program: &str, arguments: &[String], input: &str) -> Result<()> {
    use std::io::Write as _;
    let failed = |what: String| Error::new(Code::Unavailable, format!("{program}: {what}"));
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that does not read its input is told by being run.
        drop(stdin.write_all(input.as_bytes()));
    }
    let until = Instant::now() + TIMEOUT;
    loop {
        match child.try_wait().map_err(|error| failed(error.to_string()))? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(failed(format!("ended with {status}"))),
            None if Instant::now() > until => {
                drop(child.kill());
                drop(child.wait());
                return Err(failed(format!("did not end in {TIMEOUT:?}")));
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_told_and_watched() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("told").display().to_string();
        run("sh", &["-c".into(), format!("cat > {file}")], "{\"text\":\"x\"}").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\"text\":\"x\"}");
        let check = |program: &str, arguments: &[&str], expect: &str| {
            let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
            let error = run(program, &arguments, "x").unwrap_err();
            assert!(error.message().contains(expect), "{error}");
        };
        check("sh", &["-c", "exit 3"], "exit status: 3");
        check("/no/such/program", &[], "/no/such/program");
    }
}

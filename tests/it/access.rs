//! Who may ask what: keys, roles, quotas, guessing, embedded dashboards, TLS.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    support_access::new_key,
    support_certificates::certificate,
    support_pilaster::Pilaster,
    support_server::{Demo, Reply, Server, Settings, eventually},
};

const MRR: &str = "/v1/queries/revenue/mrr_by_plan";

/// A server of the demo that asks who one is, and the file of its keys.
struct Guarded {
    server: Server,
    keys: PathBuf,
    _folder: TempDir,
}

impl Guarded {
    fn start(settings: impl FnOnce(Settings) -> Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys.json");
        // The file may come later than the server.
        let asks = Demo::shared().server().env("PILASTER__ACCESS__KEYS_FILE", keys.to_str().unwrap());
        // A test asks until its key is known.
        let server = settings(asks.env("PILASTER__ACCESS__FAILURES_PER_MINUTE", "0")).start();
        Self { server, keys, _folder: folder }
    }

    /// A key that the server knows already.
    async fn key(&self, arguments: &[&str]) -> String {
        let key = new_key(&self.keys, arguments);
        let request = self.server.get("/v1/executions").bearer_auth(&key);
        eventually("the key is known", Duration::from_secs(10), move || {
            let request = request.try_clone().unwrap();
            async move { Reply::of(request).await.status == 200 }
        })
        .await;
        key
    }
}

async fn status(request: RequestBuilder) -> u16 {
    Reply::of(request).await.status
}

/// Every route with every role: what is allowed, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_what_the_table_says() {
    let guarded = Guarded::start(|settings| settings);
    let server = &guarded.server;
    let roles = [
        ("dashboard", guarded.key(&["--name", "d", "--all-tenants"]).await),
        ("analyst", guarded.key(&["--name", "a", "--role", "analyst", "--all-tenants"]).await),
        ("admin", guarded.key(&["--name", "x", "--role", "admin", "--all-tenants"]).await),
    ];
    let dashboard = json!({"dashboard": "revenue", "all_tenants": true});
    let sql = json!({"sql": "SELECT 1 AS x"});
    // Method, path, body, and what each role gets; who is not known gets 401.
    let table: [(&str, &str, Option<&Value>, [u16; 3]); 20] = [
        ("GET", "/v1/queries", None, [200; 3]),
        ("GET", MRR, None, [200; 3]),
        ("HEAD", MRR, None, [200; 3]),
        ("POST", MRR, None, [200; 3]),
        ("GET", "/v1/queries/revenue/mrr_by_plan/definition", None, [200; 3]),
        ("GET", "/v1/dashboards", None, [200; 3]),
        ("POST", "/v1/dashboards/usage", None, [200; 3]),
        ("GET", "/v1/executions", None, [200; 3]),
        ("DELETE", "/v1/executions/nothing", None, [404; 3]),
        // No secret is set for such tokens here.
        ("POST", "/v1/embed", Some(&dashboard), [400; 3]),
        ("POST", "/v1/sql", Some(&sql), [403, 200, 200]),
        ("GET", "/v1/tables", None, [403, 200, 200]),
        ("GET", "/v1/snapshots", None, [403, 200, 200]),
        ("GET", "/v1/snapshots/1", None, [403, 200, 200]),
        // This node takes none.
        ("POST", "/v1/snapshots", None, [403, 403, 400]),
        ("GET", "/metrics", None, [403, 403, 200]),
        ("GET", "/v1/nothing", None, [404; 3]),
        ("GET", "/nothing", None, [404; 3]),
        ("PUT", MRR, None, [405; 3]),
        ("DELETE", "/v1/snapshots", None, [405; 3]),
    ];
    let ask = |method: &str, path: &str, body: Option<&Value>| {
        let request = server.request(method, path);
        body.map_or(request.try_clone().unwrap(), |body| request.json(body))
    };
    for (method, path, body, expect) in table {
        assert_eq!(status(ask(method, path, body)).await, 401, "{method} {path} by nobody");
        for ((role, key), expect) in roles.iter().zip(expect) {
            let got = Reply::of(ask(method, path, body).bearer_auth(key)).await;
            assert_eq!(got.status, expect, "{method} {path} by {role}: {}", got.text());
        }
    }
    let refused = Reply::of(server.get(MRR)).await;
    refused.problem(401, "unauthenticated");
    assert_eq!(refused.header("www-authenticate"), "Bearer");

    // What tells nothing of the data asks nobody.
    for path in ["/livez", "/readyz", "/docs/", "/openapi.json"] {
        assert_eq!(status(server.get(path)).await, 200, "{path}");
    }
    let paths = async |request: RequestBuilder| Reply::of(request).await.json()["paths"].as_object().unwrap().len();
    let routes = paths(server.get("/openapi.json")).await;
    assert!(
        routes < paths(server.get("/openapi.json").bearer_auth(&roles[0].1)).await,
        "named queries are no public matter"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_known_until_it_ends() {
    let guarded = Guarded::start(|settings| settings);
    let server = &guarded.server;
    let key = guarded.key(&["--name", "grafana", "--all-tenants"]).await;
    let short = guarded.key(&["--name", "short", "--all-tenants", "--expires", "4s"]).await;
    assert_eq!(status(server.get(MRR).bearer_auth(&key)).await, 200);

    // Each is a whole request of its own, over the shortcut and over the whole way.
    let half = &key[..key.len() - 1];
    for (credential, message) in [
        (format!("Bearer {half}"), "the API key is not known"),
        (format!("Bearer {half}g"), "the API key is not known"),
        (format!("Bearer {key}0"), "the API key is not known"),
        ("Bearer plk_".into(), "the API key is not known"),
        ("Bearer nonsense".into(), "the credential is neither an API key nor a token"),
        (format!("Basic {key}"), "Authorization is not of the scheme Bearer"),
        (key.clone(), "Authorization is not understood"),
    ] {
        let reply = Reply::of(server.get(MRR).header("Authorization", &credential)).await;
        let problem = reply.problem(401, "unauthenticated");
        assert_eq!(problem["message"], message, "{credential}");
        assert!(!reply.text().contains(&key[5..]) && !server.log().contains(&key[17..]), "a key is told");
    }
    let twice = server.get(MRR).header("Authorization", format!("Bearer {key}")).header("Authorization", "Bearer x");
    Reply::of(twice).await.problem(401, "unauthenticated");

    let list = Pilaster::command(&["key", "list", "--file", guarded.keys.to_str().unwrap()]).run();
    assert!(list.stdout.contains("grafana") && list.stdout.contains("all tenants"), "{}", list.stdout);
    assert!(!list.stdout.contains(&key[17..]), "the list has a secret");

    let ended = async |key: &str, message: &str| {
        let begin = Instant::now();
        loop {
            let reply = Reply::of(server.get(MRR).bearer_auth(key)).await;
            if reply.status == 401 {
                assert_eq!(reply.problem(401, "unauthenticated")["message"], message);
                return;
            }
            assert!(begin.elapsed() < Duration::from_secs(15), "{}", reply.text());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    ended(&short, "the API key has expired").await;
    let revoked = Pilaster::command(&["key", "revoke", &key[..16], "--file", guarded.keys.to_str().unwrap()]).run();
    assert!(revoked.status.success(), "{}", revoked.stderr);
    ended(&key, "the API key was revoked").await;

    // A file that cannot be read leaves what was known, and is said.
    let other = guarded.key(&["--name", "other", "--all-tenants"]).await;
    std::fs::write(&guarded.keys, "{").unwrap();
    eventually("the broken file is noticed", Duration::from_secs(10), || {
        let is_said = server.log().contains("keys cannot be read again");
        async move { is_said }
    })
    .await;
    assert_eq!(status(server.get(MRR).bearer_auth(&other)).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_key_is_that_tenants_alone() {
    let guarded = Guarded::start(|settings| settings);
    let server = &guarded.server;
    let admin = guarded.key(&["--name", "x", "--role", "admin", "--all-tenants"]).await;
    let tenant = guarded.key(&["--name", "t", "--role", "analyst", "--tenant", "3"]).await;
    let rows = async |request: RequestBuilder| Reply::of(request).await.ok().json()["data"].clone();
    let all = rows(server.get(MRR).bearer_auth(&admin)).await;
    let as_third = rows(server.get(MRR).bearer_auth(&admin).header("Pilaster-Tenant", "3")).await;
    let own = rows(server.get(MRR).bearer_auth(&tenant)).await;
    assert!(own == as_third && own != all);
    // Twice, so that what the first left behind is not the second's.
    assert_eq!(rows(server.get(MRR).bearer_auth(&tenant)).await, own);
    assert_eq!(rows(server.get(MRR).bearer_auth(&admin)).await, all);

    let refused = [
        server.get(MRR).header("Pilaster-Tenant", "4"),
        server.get(MRR).header("Pilaster-Tenant", "3"),
        server.get("/v1/snapshots"),
    ];
    for request in refused {
        Reply::of(request.bearer_auth(&tenant)).await.problem(403, "permission_denied");
    }
}

/// However many guesses come from an address, who has a key there is let in; only who guesses waits.
#[tokio::test(flavor = "multi_thread")]
async fn guessing_is_slowed_and_locks_nobody_out() {
    let guarded = Guarded::start(|settings| settings.env("PILASTER__ACCESS__FAILURES_PER_MINUTE", "5"));
    let server = &guarded.server;
    let key = guarded.key(&["--name", "k", "--all-tenants"]).await;
    let guess = |number: u32| server.get("/v1/queries").bearer_auth(format!("plk_{number:012x}_{}", "0".repeat(64)));
    let mut slowed = 0;
    for number in 0..40 {
        let reply = Reply::of(guess(number)).await;
        match reply.status {
            401 => {}
            _ => {
                reply.problem(429, "quota_exceeded");
                assert!(reply.header("retry-after").parse::<u64>().unwrap() >= 1);
                slowed += 1;
            }
        }
        assert_eq!(status(server.get("/v1/queries").bearer_auth(&key)).await, 200);
    }
    assert!(slowed >= 20, "{slowed} of 40 guesses were slowed");
    // Who shows nothing guesses nothing.
    Reply::of(server.get("/v1/queries")).await.problem(401, "unauthenticated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_principal_has_a_quota_of_its_own() {
    let guarded = Guarded::start(|settings| {
        settings.env("PILASTER__ACCESS__REQUESTS_PER_SECOND", "1").env("PILASTER__ACCESS__REQUESTS_BURST", "10")
    });
    let server = &guarded.server;
    let (greedy, modest) = (
        guarded.key(&["--name", "greedy", "--all-tenants"]).await,
        guarded.key(&["--name", "modest", "--all-tenants"]).await,
    );
    let mut refused = 0;
    for _ in 0..30 {
        let reply = Reply::of(server.get(MRR).bearer_auth(&greedy)).await;
        if reply.status != 200 {
            reply.problem(429, "quota_exceeded");
            assert!(reply.header("retry-after").parse::<u64>().unwrap() >= 1);
            refused += 1;
        }
    }
    assert!((10..=25).contains(&refused), "{refused} of 30 were refused");
    assert_eq!(status(server.get(MRR).bearer_auth(&modest)).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_a_page_can_do_less_than_its_key() {
    let guarded = Guarded::start(|settings| settings.env("PILASTER__ACCESS__EMBED_SECRET", &"7c".repeat(32)));
    let server = &guarded.server;
    let key = guarded.key(&["--name", "backend", "--role", "admin", "--all-tenants"]).await;
    let tenant = guarded.key(&["--name", "t", "--tenant", "3"]).await;
    let mint = async |key: &str, wish: Value| Reply::of(server.post("/v1/embed").bearer_auth(key).json(&wish)).await;
    let token = async |key: &str, wish: Value| {
        let reply = mint(key, wish).await;
        assert_eq!(reply.status, 201, "{}", reply.text());
        assert_eq!(reply.header("cache-control"), "no-store");
        reply.json()["token"].as_str().unwrap().to_owned()
    };
    let page = token(
        &key,
        json!({"dashboard": "revenue", "tenant": "3", "parameters": {"from": "2025-09-01"}, "expires_in": 600}),
    )
    .await;
    let own = Reply::of(server.get(&format!("{MRR}?from=2025-09-01")).bearer_auth(&tenant)).await.ok().json();
    assert_eq!(Reply::of(server.get(MRR).bearer_auth(&page)).await.ok().json(), own);
    assert_eq!(Reply::of(server.get(MRR).bearer_auth(&page)).await.ok().json(), own, "and again, from the cache");
    let whole = Reply::of(server.post("/v1/dashboards/revenue").bearer_auth(&page)).await.ok().text();
    assert!(whole.lines().count() > 2 && whole.lines().all(|line| line.contains("\"status\":200")), "{whole}");
    let names = Reply::of(server.get("/v1/dashboards").bearer_auth(&page)).await.ok().json();
    assert_eq!(names["dashboards"].as_array().unwrap().len(), 1, "{names}");

    let refused = [
        server.get(&format!("{MRR}?from=2025-07-01")),
        server.get("/v1/queries/usage/active_users"),
        server.get("/v1/queries/usage/active_users/definition"),
        server.get("/v1/queries/nothing/at_all"),
        server.post("/v1/dashboards/usage"),
        server.sql("SELECT 1"),
        server.get("/v1/tables"),
        server.get("/v1/snapshots"),
        server.get(MRR).header("Pilaster-Tenant", "4"),
        server.post("/v1/embed").json(&json!({"dashboard": "revenue"})),
        server.get("/metrics"),
    ];
    for request in refused {
        let reply = Reply::of(request.bearer_auth(&page)).await;
        reply.problem(403, "permission_denied");
    }
    let one = token(&key, json!({"dashboard": "revenue", "query": "mrr_by_plan", "all_tenants": true})).await;
    assert_eq!(status(server.get(MRR).bearer_auth(&one)).await, 200);
    let list = Reply::of(server.get("/v1/queries").bearer_auth(&one)).await.ok().json();
    assert_eq!(list["queries"].as_array().unwrap().len(), 1);

    // What is asked for wrongly is said at once, and nobody gives more than they have.
    for (key, wish, expect) in [
        (&key, json!({"dashboard": "revenue"}), (400, "invalid_request")),
        (&key, json!({"dashboard": "nothing", "tenant": "3"}), (404, "not_found")),
        (&key, json!({"dashboard": "revenue", "query": "nothing", "tenant": "3"}), (404, "not_found")),
        (&key, json!({"dashboard": "revenue", "tenant": "3", "parameters": {"x": 1}}), (400, "unknown_parameter")),
        (&key, json!({"dashboard": "revenue", "tenant": "3", "all_tenants": true}), (400, "invalid_request")),
        (&key, json!({"dashboard": "revenue", "tenant": "3", "expires_in": 0}), (400, "invalid_request")),
        (&key, json!({"dashboard": "revenue", "tenant": "3", "expires_in": 90_000}), (400, "invalid_request")),
        (&tenant, json!({"dashboard": "revenue", "tenant": "4"}), (403, "permission_denied")),
        (&tenant, json!({"dashboard": "revenue", "all_tenants": true}), (403, "permission_denied")),
    ] {
        mint(key, wish).await.problem(expect.0, expect.1);
    }
    let of_tenant = token(&tenant, json!({"dashboard": "revenue"})).await;
    assert_eq!(status(server.get(MRR).bearer_auth(&of_tenant)).await, 200);

    // It ends by itself, and with its key; one that somebody changed is nothing.
    let brief = token(&key, json!({"dashboard": "revenue", "tenant": "3", "expires_in": 1})).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(
        Reply::of(server.get(MRR).bearer_auth(&brief)).await.problem(401, "unauthenticated")["message"],
        "the token has expired"
    );
    let mut parts: Vec<&str> = page.split('.').collect();
    parts[1] = one.split('.').nth(1).unwrap();
    Reply::of(server.get(MRR).bearer_auth(parts.join("."))).await.problem(401, "unauthenticated");
    let revoked = Pilaster::command(&["key", "revoke", &key[..16], "--file", guarded.keys.to_str().unwrap()]).run();
    assert!(revoked.status.success(), "{}", revoked.stderr);
    let request = server.get(MRR).bearer_auth(&page);
    eventually("the token ends with its key", Duration::from_secs(10), move || {
        let request = request.try_clone().unwrap();
        async move { Reply::of(request).await.status == 401 }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn https_takes_a_new_certificate_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    certificate(folder.path(), "first");
    certificate(folder.path(), "second");
    let put = |name: &str| {
        std::fs::copy(at(&format!("{name}.key")), at("server.key")).unwrap();
        std::fs::copy(at(&format!("{name}.crt")), at("server.crt")).unwrap();
    };
    put("first");
    let server = Demo::shared()
        .server()
        .env("PILASTER__SERVER__TLS_CERTIFICATE_FILE", at("server.crt").to_str().unwrap())
        .env("PILASTER__SERVER__TLS_KEY_FILE", at("server.key").to_str().unwrap())
        .start();
    let url = format!("https://{}/readyz", server.address());
    let believes = |name: &str| {
        let trusted = reqwest::Certificate::from_pem(&std::fs::read(at(&format!("{name}-ca.crt"))).unwrap()).unwrap();
        let client = reqwest::Client::builder().no_proxy().tls_built_in_root_certs(false).add_root_certificate(trusted);
        (client.build().unwrap(), url.clone())
    };
    let asked = async |name: &str| {
        let (client, url) = believes(name);
        client.get(url).send().await.map(|reply| reply.status().as_u16())
    };
    assert_eq!(asked("first").await.unwrap(), 200);
    assert!(asked("second").await.is_err());
    let plain = Reply::try_of(server.get("/readyz")).await;
    assert!(plain.is_err(), "HTTP in the clear is answered");

    // A certificate without its key is said, and the old one stays.
    std::fs::copy(at("second.crt"), at("server.crt")).unwrap();
    eventually("the mismatch is noticed", Duration::from_secs(10), || {
        let is_said = server.log().contains("the certificate cannot be read again");
        async move { is_said }
    })
    .await;
    assert!(asked("first").await.is_ok());
    put("second");
    let begin = Instant::now();
    while asked("second").await.is_err() {
        assert!(begin.elapsed() < Duration::from_secs(10), "the new certificate is not taken");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(asked("first").await.is_err());
}

/// What must not start does not, and says how to mend it.
#[test]
fn what_is_not_safe_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    certificate(folder.path(), "good");
    std::fs::write(folder.path().join("bad.pem"), "nonsense").unwrap();
    std::fs::write(folder.path().join("keys.json"), "{").unwrap();
    let check = |variables: &[(&str, &str)], listen: &str, message: &str| {
        let store = path("store");
        let mut command = Pilaster::command(&["serve", "--snapshot", "never", "--store", &store, "--listen", listen]);
        for (name, value) in variables {
            command = command.env(name, value);
        }
        let ran = command.run();
        assert!(!ran.status.success() && ran.stderr.contains(message), "{variables:?}: {}", ran.stderr);
    };
    let (certificate_file, key_file) = ("PILASTER__SERVER__TLS_CERTIFICATE_FILE", "PILASTER__SERVER__TLS_KEY_FILE");
    check(&[], "0.0.0.0:0", "nobody is asked who they are");
    check(&[], "[::]:0", "nobody is asked who they are");
    check(&[("PILASTER__ACCESS__KEYS_FILE", &path("keys.json"))], "127.0.0.1:0", "is not a file of keys");
    check(&[("PILASTER__ACCESS__EMBED_SECRET", "short")], "127.0.0.1:0", "access.embed_secret is not 32 bytes");
    check(&[("PILASTER__ACCESS__EMBED_SECRET", &"5a".repeat(32))], "127.0.0.1:0", "nobody is asked who they are");
    check(&[(certificate_file, &path("good.crt"))], "127.0.0.1:0", "go together");
    check(
        &[(certificate_file, &path("bad.pem")), (key_file, &path("good.key"))],
        "127.0.0.1:0",
        "has no certificate in PEM",
    );
    check(
        &[(certificate_file, &path("good.crt")), (key_file, &path("bad.pem"))],
        "127.0.0.1:0",
        "is no private key in PEM",
    );
    check(&[(certificate_file, &path("none.crt")), (key_file, &path("good.key"))], "127.0.0.1:0", "none.crt");

    // With keys, a listener may be beyond loopback.
    let (store, keys) = (path("store"), path("later.json"));
    let mut beyond = Pilaster::command(&["serve", "--snapshot", "never", "--store", &store, "--listen", "0.0.0.0:0"])
        .env("PILASTER__ACCESS__KEYS_FILE", &keys)
        .spawn();
    std::thread::sleep(Duration::from_secs(2));
    assert!(!beyond.has_ended(), "{}", beyond.kill().stderr);
}

//! Tokens of other people's issuers: which are believed, and which are not.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, encode,
    jwk::{Jwk, JwkSet},
};
use serde_json::{Value, json};

use crate::{
    support_certificates::openssl,
    support_pilaster::Pilaster,
    support_server::{Demo, Reply, Server, eventually},
};

const MRR: &str = "/v1/queries/revenue/mrr_by_plan";
const SECRET: &str = "a secret that is only known to the issuer, and to us";

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// Claims that are right, with changes: a value, or null for a claim that is not there.
fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "iss": "https://id.example.com/", "aud": "pilaster", "sub": "someone", "exp": now() + 300, "nbf": now() - 5,
        "role": "admin", "tenant": "3",
    });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

fn signed(header: &Header, key: &EncodingKey, changes: Value) -> String {
    encode(header, &claims(changes), key).unwrap()
}

fn by_secret(changes: Value) -> String {
    signed(&Header::new(Algorithm::HS256), &EncodingKey::from_secret(SECRET.as_bytes()), changes)
}

fn server(issuer: &str) -> Server {
    let toml = format!(
        "[[access.issuers]]\nissuer = \"https://id.example.com/\"\naudience = \"pilaster\"\nall_tenants_claim = \"staff\"\n{issuer}"
    );
    Demo::shared().server().config(&toml).env("PILASTER__ACCESS__FAILURES_PER_MINUTE", "0").start()
}

async fn ask(server: &Server, token: &str) -> Reply {
    Reply::of(server.get(MRR).bearer_auth(token)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_believed_or_it_is_said_why_not() {
    let server = server(&format!("algorithms = [\"HS256\"]\nsecret = \"{SECRET}\"\nleeway = \"5s\""));
    ask(&server, &by_secret(json!({}))).await.ok();
    let list = json!({"aud": ["other", "pilaster"], "exp": now() + 1_000_000});
    ask(&server, &by_secret(list)).await.ok();

    let refused = [
        ("expired", json!({"exp": now() - 60}), "the token has expired"),
        ("not yet", json!({"nbf": now() + 60}), "the token is not valid yet"),
        ("no exp", json!({"exp": null}), "the token has no exp"),
        ("no nbf", json!({"nbf": null}), "the token has no nbf"),
        ("no aud", json!({"aud": null}), "the token has no aud"),
        ("no iss", json!({"iss": null}), "the token does not say who issued it (iss)"),
        ("other aud", json!({"aud": "billing"}), "the token is for somebody else (aud)"),
        ("other iss", json!({"iss": "https://evil.example.com/"}), "the token's issuer is not known"),
        ("iss alike", json!({"iss": "https://id.example.com"}), "the token's issuer is not known"),
        ("our own iss", json!({"iss": "pilaster-embed"}), "the token's issuer is not known"),
        ("exp as text", json!({"exp": "tomorrow"}), "the token has no exp"),
        ("no role", json!({"role": null}), "the token's claim \"role\", its role, is no text"),
        ("unknown role", json!({"role": "root"}), "the token's claim \"role\" names no role that is known"),
        ("role as list", json!({"role": ["admin"]}), "the token's claim \"role\", its role, is no text"),
        ("no tenant", json!({"tenant": null}), "the token's claim \"tenant\", its tenant, is missing"),
        ("empty tenant", json!({"tenant": ""}), "the token's tenant: the tenant is empty"),
        (
            "tenant as list",
            json!({"tenant": [3]}),
            "the token's claim \"tenant\", its tenant, is no text or whole number",
        ),
        (
            "tenant with a point",
            json!({"tenant": 3.5}),
            "the token's claim \"tenant\", its tenant, is no text or whole number",
        ),
        ("no subject", json!({"sub": null}), "the token's subject (sub) is missing"),
        ("empty subject", json!({"sub": ""}), "the token's subject (sub) is missing"),
        ("subject over lines", json!({"sub": "a\nb"}), "the token's subject (sub) is missing"),
        ("one and all", json!({"staff": true}), "the token's tenant is one, and it is of all"),
        (
            "staff as text",
            json!({"tenant": null, "staff": "true"}),
            "the token's claim \"tenant\", its tenant, is missing",
        ),
        ("no staff", json!({"tenant": null, "staff": false}), "the token's claim \"tenant\", its tenant, is missing"),
    ];
    for (what, changes, message) in refused {
        let problem = ask(&server, &by_secret(changes)).await.problem(401, "unauthenticated");
        assert!(problem["message"].as_str().unwrap().starts_with(message), "{what}: {problem}");
    }

    // Who is believed is who the claims say.
    let rows = async |changes: Value| ask(&server, &by_secret(changes)).await.ok().json()["data"].clone();
    let third = rows(json!({})).await;
    assert_eq!(rows(json!({"tenant": 3})).await, third, "a number is the same tenant");
    let fourth = rows(json!({"tenant": "4"})).await;
    let all = rows(json!({"tenant": null, "staff": true})).await;
    assert!(third != fourth && third != all && fourth != all);
    let viewer = by_secret(json!({"role": "dashboard", "tenant": null, "staff": true}));
    Reply::of(server.sql("SELECT 1").bearer_auth(&viewer)).await.problem(403, "permission_denied");
}

/// Administration is of all tenants: who has one sees and stops what is their own, also where two tenants have a user of one name.
#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_of_a_tenant_is_none_of_others() {
    let server = server(&format!("algorithms = [\"HS256\"]\nsecret = \"{SECRET}\""));
    let third = by_secret(json!({"sub": "root"}));
    let fourth = by_secret(json!({"sub": "root", "tenant": "4"}));
    let staff = by_secret(json!({"tenant": null, "staff": true}));
    for request in [server.get("/metrics"), server.post("/v1/snapshots")] {
        Reply::of(request.try_clone().unwrap().bearer_auth(&third)).await.problem(403, "permission_denied");
        assert_ne!(Reply::of(request.bearer_auth(&staff)).await.status, 403);
    }
    // Runs until it is stopped, or for half a minute.
    let slow = "SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 100000000) b";
    let running = tokio::spawn(Reply::of(server.sql(slow).header("X-Request-Id", "slow").bearer_auth(&staff)));
    let seen = async |token: &str| {
        Reply::of(server.get("/v1/executions").bearer_auth(token)).await.ok().text().contains("\"slow\"")
    };
    eventually("it runs", Duration::from_secs(10), async || seen(&staff).await).await;
    for token in [&third, &fourth] {
        assert!(!seen(token).await);
        Reply::of(server.request("DELETE", "/v1/executions/slow").bearer_auth(token)).await.problem(404, "not_found");
    }
    assert_eq!(Reply::of(server.request("DELETE", "/v1/executions/slow").bearer_auth(&staff)).await.status, 204);
    running.await.unwrap().problem(499, "cancelled");
}

/// Claims that another system has made, as the configuration reads them; asked by the command line.
#[tokio::test(flavor = "multi_thread")]
async fn claims_are_where_the_configuration_says() {
    let server = server(&format!(
        "algorithms = [\"HS256\"]\nsecret = \"{SECRET}\"\nrole_claim = \"resource_access.pilaster.role\"\n\
         tenant_claim = \"https://example.com/tenant\"\nroles = {{ viewer = \"dashboard\", author = \"analyst\" }}"
    ));
    let token = |role: &str| {
        by_secret(json!({"role": null, "tenant": null, "staff": true, "resource_access": {"pilaster": {"role": role}}}))
    };
    let query = |credential: &str| {
        let url = server.url("");
        Pilaster::command(&["query", "SELECT 6 * 7 AS answer", "--url", &url, "--output", "csv"])
            .env("PILASTER__CLIENT__CREDENTIAL", credential)
            .run()
    };
    let author = query(&token("author"));
    assert!(author.status.success() && author.stdout.contains("42"), "{}{}", author.stdout, author.stderr);
    assert!(query(&token("viewer")).stderr.contains("this needs the role analyst"));
    for role in ["analyst", "admin", "root"] {
        let refused = query(&token(role));
        assert!(refused.stderr.contains("names no role that is known"), "{role}: {}", refused.stderr);
    }
    assert!(query("").stderr.contains("error: "));
    let tenant = json!({"role": null, "tenant": null, "https://example.com/tenant": "3", "resource_access": {"pilaster": {"role": "viewer"}}});
    ask(&server, &by_secret(tenant)).await.ok();
}

/// What has the form of a token, and is not one.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_token_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    openssl(folder.path(), "genrsa -out rsa.pem 2048");
    openssl(folder.path(), "rsa -in rsa.pem -pubout -out rsa.pub");
    openssl(folder.path(), "genrsa -out other.pem 2048");
    let server = server(&format!(
        "algorithms = [\"RS256\"]\npublic_key_file = {:?}",
        folder.path().join("rsa.pub").display().to_string()
    ));
    let rsa = EncodingKey::from_rsa_pem(&at("rsa.pem")).unwrap();
    let header = Header::new(Algorithm::RS256);
    let good = signed(&header, &rsa, json!({}));
    ask(&server, &good).await.ok();

    let base64 = |value: &Value| {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string())
    };
    let parts: Vec<&str> = good.split('.').collect();
    let unsigned = |alg: &str, signature: &str| {
        format!("{}.{}.{signature}", base64(&json!({"alg": alg, "typ": "JWT"})), base64(&claims(json!({}))))
    };
    let other_key = EncodingKey::from_rsa_pem(&at("other.pem")).unwrap();
    let with_own_key =
        Header { jwk: Some(Jwk::from_encoding_key(&other_key, Algorithm::RS256).unwrap()), ..header.clone() };
    let forged = [
        ("none", unsigned("none", "")),
        ("None", unsigned("None", "")),
        ("none with a signature", unsigned("none", parts[2])),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        // The public key, which is no secret, as the secret of another algorithm.
        (
            "HS256 by the public key",
            signed(&Header::new(Algorithm::HS256), &EncodingKey::from_secret(&at("rsa.pub")), json!({})),
        ),
        ("another family", signed(&Header::new(Algorithm::PS256), &rsa, json!({}))),
        ("a longer hash", signed(&Header::new(Algorithm::RS512), &rsa, json!({}))),
        ("another key", signed(&header, &other_key, json!({}))),
        ("a key of its own in its head", signed(&with_own_key, &other_key, json!({}))),
        (
            "a key elsewhere",
            signed(&Header { jku: Some("https://evil.example.com/".into()), ..header.clone() }, &other_key, json!({})),
        ),
        ("critical", signed(&Header { crit: Some(vec!["x".into()]), ..header.clone() }, &rsa, json!({}))),
        ("other claims", format!("{}.{}.{}", parts[0], base64(&claims(json!({"tenant": "4"}))), parts[2])),
        ("another head", format!("{}.{}.{}", base64(&json!({"alg": "RS256"})), parts[1], parts[2])),
        ("four parts", format!("{good}.x")),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("not base64", format!("{}.{}.!!", parts[0], parts[1])),
        ("long", format!("{good}{}", "A".repeat(20_000))),
        ("empty parts", "..".into()),
        ("claims that are no object", format!("{}.{}.{}", parts[0], base64(&json!([1])), parts[2])),
    ];
    for (what, token) in forged {
        let reply = Reply::of(server.get(MRR).bearer_auth(&token)).await;
        assert!(reply.status == 401 || reply.status == 431, "{what}: {} {}", reply.status, reply.text());
    }
    ask(&server, &good).await.ok();
}

/// Each kind of key, from a file.
#[tokio::test(flavor = "multi_thread")]
async fn public_keys_are_for_their_algorithm() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    openssl(folder.path(), "ecparam -name prime256v1 -genkey -noout -out ec.sec1");
    openssl(folder.path(), "pkcs8 -topk8 -nocrypt -in ec.sec1 -out ec.pem");
    openssl(folder.path(), "ec -in ec.sec1 -pubout -out ec.pub");
    openssl(folder.path(), "genpkey -algorithm ed25519 -out ed.pem");
    openssl(folder.path(), "pkey -in ed.pem -pubout -out ed.pub");
    let keys = [
        (Algorithm::ES256, "ES256", "ec.pub", EncodingKey::from_ec_pem(&at("ec.pem")).unwrap()),
        (Algorithm::EdDSA, "EdDSA", "ed.pub", EncodingKey::from_ed_pem(&at("ed.pem")).unwrap()),
    ];
    for (algorithm, name, file, key) in &keys {
        let path = folder.path().join(file).display().to_string();
        let server = server(&format!("algorithms = [\"{name}\"]\npublic_key_file = {path:?}"));
        ask(&server, &signed(&Header::new(*algorithm), key, json!({}))).await.ok();
        for (other, _, _, other_key) in keys.iter().filter(|(other, ..)| other != algorithm) {
            ask(&server, &signed(&Header::new(*other), other_key, json!({}))).await.problem(401, "unauthenticated");
        }
    }
}

fn named(mut jwk: Jwk, id: &str) -> Jwk {
    jwk.common.key_id = Some(id.into());
    jwk
}

/// A pair of keys: to sign with, and to publish.
fn pair(folder: &Path, name: &str) -> (EncodingKey, Jwk) {
    openssl(folder, &format!("genrsa -out {name}.pem 2048"));
    let key = EncodingKey::from_rsa_pem(&std::fs::read(folder.join(format!("{name}.pem"))).unwrap()).unwrap();
    let jwk = named(Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap(), name);
    (key, jwk)
}

fn with_id(id: &str) -> Header {
    Header { kid: Some(id.into()), ..Header::new(Algorithm::RS256) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_of_keys_in_a_file_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (first, first_jwk) = pair(folder.path(), "first");
    let (second, second_jwk) = pair(folder.path(), "second");
    let path = folder.path().join("jwks.json");
    // A secret in a public set is nothing to sign with.
    let secret = Jwk::from_decoding_key(&DecodingKey::from_secret(SECRET.as_bytes()), Some(Algorithm::HS256));
    let mut keys = vec![first_jwk];
    keys.extend(secret.ok().map(|jwk| named(jwk, "secret")));
    let put = |keys: Vec<Jwk>| std::fs::write(&path, serde_json::to_string(&JwkSet { keys }).unwrap()).unwrap();
    put(keys);
    let server = server(&format!("algorithms = [\"RS256\"]\njwks_file = {:?}", path.display().to_string()));
    ask(&server, &signed(&with_id("first"), &first, json!({}))).await.ok();
    // Without a name, each key is tried.
    ask(&server, &signed(&Header::new(Algorithm::RS256), &first, json!({}))).await.ok();
    for (header, key) in [
        (with_id("second"), &second),
        (with_id("first"), &second),
        (Header::new(Algorithm::RS256), &second),
        (
            Header { kid: Some("secret".into()), ..Header::new(Algorithm::HS256) },
            &EncodingKey::from_secret(SECRET.as_bytes()),
        ),
    ] {
        ask(&server, &signed(&header, key, json!({}))).await.problem(401, "unauthenticated");
    }

    put(vec![second_jwk]);
    let token = signed(&with_id("second"), &second, json!({}));
    let request = server.get(MRR).bearer_auth(&token);
    eventually("the new set is read", Duration::from_secs(10), move || {
        let request = request.try_clone().unwrap();
        async move { Reply::of(request).await.status == 200 }
    })
    .await;
    ask(&server, &signed(&with_id("first"), &first, json!({}))).await.problem(401, "unauthenticated");
}

/// Serves whatever the set holds to whoever asks.
fn serve(set: Arc<Mutex<String>>) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            drop(stream.read(&mut [0; 4096]));
            let body = set.lock().unwrap().clone();
            let head = if body.is_empty() { "HTTP/1.1 500 Broken" } else { "HTTP/1.1 200 OK" };
            drop(write!(stream, "{head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()));
        }
    });
    format!("http://127.0.0.1:{port}/jwks")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_of_keys_at_a_url_is_fetched_and_fetched_again() {
    let folder = tempfile::tempdir().unwrap();
    let (first, first_jwk) = pair(folder.path(), "first");
    let (second, second_jwk) = pair(folder.path(), "second");
    let set = Arc::new(Mutex::new(String::new()));
    let server = server(&format!("algorithms = [\"RS256\"]\njwks_url = \"{}\"", serve(Arc::clone(&set))));
    let token = signed(&with_id("first"), &first, json!({}));
    let reply = ask(&server, &token).await;
    reply.problem(503, "unavailable");
    let put = |keys: Vec<Jwk>| *set.lock().unwrap() = serde_json::to_string(&JwkSet { keys }).unwrap();
    let believed = async |token: &str| {
        let request = server.get(MRR).bearer_auth(token);
        eventually("the set is fetched", Duration::from_secs(40), move || {
            let request = request.try_clone().unwrap();
            async move { Reply::of(request).await.status == 200 }
        })
        .await;
    };
    put(vec![first_jwk.clone()]);
    believed(&token).await;
    // A token by a key that is not known is a reason to look.
    put(vec![first_jwk, second_jwk]);
    believed(&signed(&with_id("second"), &second, json!({}))).await;
    // An issuer that is down changes nothing.
    set.lock().unwrap().clear();
    ask(&server, &signed(&with_id("unknown"), &second, json!({}))).await.problem(401, "unauthenticated");
    ask(&server, &token).await.ok();
}

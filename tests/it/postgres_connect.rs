//! Connections: authentication, encryption, clear errors, and COPY when something goes wrong.

use std::{
    io::{self, Read, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use pilaster::{
    error::{Code, Error, Result},
    postgres::{
        ColumnPlan, CopyConnection, CopyDecoder, Kind, OutOfRange, Pooling, Progress, SourceConfig, identify,
        sqlstate_of,
    },
};

use crate::support::{Postgres, free_port};

async fn try_both(url: &str) -> Result<()> {
    let source = SourceConfig::parse(url)?;
    let (client, copy) = (source.connect().await, source.connect_copy().await);
    assert_eq!(client.as_ref().err().map(Error::code), copy.as_ref().err().map(Error::code), "{url}");
    if let (Err(client), Err(copy)) = (&client, &copy) {
        assert_eq!((client.message(), client.hint()), (copy.message(), copy.hint()), "{url}");
    }
    let row = client?.query_one("SELECT 'żółw', current_setting('TimeZone')", &[]).await.unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("żółw", "UTC"));
    let mut copy = copy?;
    assert_eq!(copy.parameter("client_encoding"), Some("UTF8"));
    copy.execute("SELECT 1; SELECT 2").await?;
    copy.close().await;
    Ok(())
}

fn assert_error(error: &Error, code: Code, message: &str, hint: &str) {
    assert_eq!(error.code(), code, "{error:?}");
    assert!(error.message().contains(message), "{}", error.message());
    assert!(error.hint().unwrap_or_default().contains(hint), "{:?}", error.hint());
}

#[tokio::test]
async fn each_way_to_authenticate() {
    let hba = "host all clear 127.0.0.1/32 password\nhost all hashed 127.0.0.1/32 md5\n\
               host all nobody 127.0.0.1/32 reject\n\
               host all free 127.0.0.1/32 trust";
    let server = Postgres::private(&[], hba);
    server.psql("postgres", "CREATE ROLE clear LOGIN PASSWORD 'p w'; CREATE ROLE free LOGIN; CREATE ROLE nobody LOGIN");
    server.psql("postgres", "SET password_encryption = md5; CREATE ROLE hashed LOGIN PASSWORD 'pä'");
    let port = server.port();
    try_both(&server.url()).await.unwrap();
    try_both(&server.url_as("clear", "p w", "postgres")).await.unwrap();
    try_both(&server.url_as("hashed", "pä", "postgres")).await.unwrap();
    try_both(&format!("host=127.0.0.1 port={port} user=free dbname=postgres sslmode=disable")).await.unwrap();
    let socket = server.directory().display();
    try_both(&format!("postgresql:///postgres?host={socket}&port={port}&user=postgres")).await.unwrap();
    // The first host is dead, the second lives.
    let dead = free_port();
    try_both(&format!("host=127.0.0.1,127.0.0.1 port={dead},{port} user=free dbname=postgres")).await.unwrap();
    let standby = format!("postgresql://free@127.0.0.1:{port}/postgres?target_session_attrs=read-only");
    assert_error(&try_both(&standby).await.unwrap_err(), Code::Unavailable, "the server is not read-only", "");

    let wrong = try_both(&server.url_as("clear", "wrong", "postgres")).await.unwrap_err();
    let place = format!("cannot connect to PostgreSQL at 127.0.0.1:{port}, database \"postgres\" as \"clear\"");
    assert_error(&wrong, Code::InvalidConfig, &place, "correct the password");
    assert_eq!(sqlstate_of(&wrong), Some("28P01"));
    let wrong = try_both(&server.url_as("postgres", "wrong", "postgres")).await.unwrap_err();
    assert_error(&wrong, Code::InvalidConfig, "password authentication failed", "correct the password");
    let none = try_both(&format!("postgresql://postgres@127.0.0.1:{port}/postgres")).await.unwrap_err();
    assert_error(&none, Code::InvalidConfig, "the server asks for a password", "postgresql://user:password@");
    let missing = try_both(&format!("postgresql://free@127.0.0.1:{port}/nowhere")).await.unwrap_err();
    assert_error(&missing, Code::InvalidConfig, "\"nowhere\" does not exist", "correct the database name");
    let rejected = try_both(&format!("postgresql://nobody@127.0.0.1:{port}/postgres")).await.unwrap_err();
    assert_error(&rejected, Code::InvalidConfig, "pg_hba.conf", "create the role");
    let refused = try_both(&format!("postgresql://free@127.0.0.1:{dead}/postgres")).await.unwrap_err();
    assert_error(&refused, Code::Unavailable, &format!("127.0.0.1:{dead}"), "is PostgreSQL running there");
    let unresolved = try_both("postgresql://free@no-such-host.invalid/postgres").await.unwrap_err();
    assert_error(&unresolved, Code::Unavailable, "cannot resolve", "correct the host");
    let socket = try_both("postgresql://free@%2Fno%2Fsuch%2Ffolder/postgres").await.unwrap_err();
    assert_error(&socket, Code::Unavailable, "there is no such socket", "unix_socket_directories");
    let plain = try_both(&format!("postgresql://free@127.0.0.1:{port}/postgres?sslmode=require")).await.unwrap_err();
    assert_error(&plain, Code::InvalidConfig, "does not offer encryption", "sslmode=disable");
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let begun = Instant::now();
    let url = format!("postgresql://u:p@127.0.0.1:{port}/d?connect_timeout=1&sslmode=disable");
    let error = SourceConfig::parse(&url).unwrap().connect_copy().await.unwrap_err();
    assert_error(&error, Code::Unavailable, "no answer in 1 s", "connect_timeout");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_password_is_never_shown() {
    let source = SourceConfig::parse("postgresql://ada:s3cret@h1:1,h2/some%20db?sslmode=disable").unwrap();
    assert_eq!(source.redacted(), "postgresql://ada@h1:1,h2:5432/some%20db");
    assert!(!format!("{source} {source:?}").contains("s3cret"));
}

fn openssl(directory: &Path, script: &str) {
    let output = Command::new("sh").args(["-ec", script]).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn each_sslmode() {
    let folder = tempfile::tempdir().unwrap();
    openssl(
        folder.path(),
        "openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=root -keyout ca.key -out ca.pem
         for name in localhost other; do
             openssl req -newkey rsa:2048 -nodes -subj /CN=$name -keyout $name.key -out $name.csr
             printf 'subjectAltName=DNS:%s' $name >$name.ext
             openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 9 \
                 -extfile $name.ext -out $name.pem
         done
         openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=another -keyout another.key -out another.pem",
    );
    let hba = "hostssl all postgres 127.0.0.1/32 scram-sha-256\nhostnossl all postgres 127.0.0.1/32 reject";
    let server =
        Postgres::private(&["ssl_cert_file = '$DIRECTORY/server.pem'", "ssl_key_file = '$DIRECTORY/server.key'"], hba);
    let install = |name: &str| {
        for kind in ["pem", "key"] {
            let to = server.directory().join(format!("server.{kind}"));
            std::fs::copy(folder.path().join(format!("{name}.{kind}")), &to).unwrap();
            std::fs::set_permissions(&to, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            let owner = format!("--reference={}", server.directory().display());
            assert!(Command::new("chown").arg(owner).arg(&to).status().unwrap().success());
        }
        server.psql("postgres", "ALTER SYSTEM SET ssl = on");
        server.psql("postgres", "SELECT pg_reload_conf()");
        std::thread::sleep(Duration::from_millis(300));
    };
    let url = |options: &str| {
        let url = server.url().replace("127.0.0.1", "localhost");
        format!("{url}?hostaddr=127.0.0.1&{options}")
    };
    let ca = folder.path().join("ca.pem").display().to_string();
    let another = folder.path().join("another.pem").display().to_string();
    let own = folder.path().join("localhost.pem").display().to_string();

    install("localhost");
    for mode in ["allow", "prefer", "require"] {
        try_both(&url(&format!("sslmode={mode}"))).await.unwrap_or_else(|error| panic!("{mode}: {error:?}"));
    }
    for root in [&ca, &own] {
        for mode in ["require", "verify-ca", "verify-full"] {
            try_both(&url(&format!("sslmode={mode}&sslrootcert={root}"))).await.unwrap();
        }
    }
    let plain = try_both(&url("sslmode=disable")).await.unwrap_err();
    assert_error(&plain, Code::InvalidConfig, "pg_hba.conf", "sslmode=require");
    for mode in ["require", "verify-ca", "verify-full"] {
        let error = try_both(&url(&format!("sslmode={mode}&sslrootcert={another}"))).await.unwrap_err();
        assert_error(&error, Code::InvalidConfig, "TLS failed: invalid peer certificate", "sslrootcert=");
    }
    let error = try_both(&url("sslmode=verify-full")).await.unwrap_err();
    assert_error(&error, Code::InvalidConfig, "", "sslrootcert=");
    let error = try_both(&url("sslmode=verify-full&sslrootcert=/no/such.pem")).await.unwrap_err();
    assert_error(&error, Code::InvalidConfig, "cannot read certificates from /no/such.pem", "PEM");

    // Cancelling goes over an encrypted connection as well.
    let source = SourceConfig::parse(&url(&format!("sslmode=verify-full&sslrootcert={ca}"))).unwrap();
    let client = source.connect().await.unwrap();
    let token = client.cancel_token();
    let (slept, cancelled) = tokio::join!(client.batch_execute("SELECT pg_sleep(20)"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        token.cancel().await
    });
    cancelled.unwrap();
    assert_eq!(slept.unwrap_err().code().unwrap().code(), "57014");

    install("other");
    try_both(&url(&format!("sslmode=verify-ca&sslrootcert={ca}"))).await.unwrap();
    let error = try_both(&url(&format!("sslmode=verify-full&sslrootcert={ca}"))).await.unwrap_err();
    assert_error(&error, Code::InvalidConfig, "not valid for name \"localhost\"", "host name");
}

fn decoder(kind: Kind) -> CopyDecoder {
    let plan = ColumnPlan { name: "v".into(), kind, out_of_range: OutOfRange::Error, is_nullable: true };
    CopyDecoder::new("public.t", &[plan], None).unwrap()
}

async fn drain(connection: &mut CopyConnection, decoder: &mut CopyDecoder) -> Result<u64> {
    loop {
        if let Progress::Done { rows } = connection.next_chunk(decoder).await? {
            return Ok(rows);
        }
    }
}

#[tokio::test]
async fn a_copy_ends_whole_or_in_an_error() {
    let source = SourceConfig::parse(&Postgres::start().url()).unwrap();
    let mut connection = source.connect_copy().await.unwrap();
    let copy = |select: &str| format!("COPY ({select}) TO STDOUT (FORMAT binary)");

    let mut integers = decoder(Kind::Int4);
    connection.start_copy(&copy("SELECT g FROM pg_catalog.generate_series(1, 300000) g")).await.unwrap();
    assert_eq!(drain(&mut connection, &mut integers).await.unwrap(), 300_000);
    connection.start_copy(&copy("SELECT 1 WHERE false")).await.unwrap();
    assert_eq!(drain(&mut connection, &mut integers).await.unwrap(), 0);
    assert_eq!(integers.take_batch().unwrap().unwrap().num_rows(), 300_000);

    // The server fails after many rows; the connection lives on.
    let select = "SELECT 1 / (g - 200000) FROM pg_catalog.generate_series(1, 300000) g";
    connection.start_copy(&copy(select)).await.unwrap();
    let error = drain(&mut connection, &mut decoder(Kind::Int4)).await.unwrap_err();
    assert_eq!((error.code(), sqlstate_of(&error)), (Code::InvalidValue, Some("22012")));
    let error = connection.start_copy("SELEKT").await.unwrap_err();
    assert_eq!(sqlstate_of(&error), Some("42601"));
    let error = connection.execute("SELECT 1; SELECT 1 / 0; SELECT 2").await.unwrap_err();
    assert_eq!(sqlstate_of(&error), Some("22012"));
    connection.execute("COPY (SELECT 1) TO STDOUT").await.unwrap();

    // A row much larger than the buffer arrives in pieces.
    let mut texts = decoder(Kind::Text);
    let select =
        "SELECT pg_catalog.repeat(pg_catalog.chr(64 + g), g * 3000000) FROM pg_catalog.generate_series(1, 4) g";
    connection.start_copy(&copy(select)).await.unwrap();
    let mut rows = 0;
    loop {
        let progress = connection.next_chunk(&mut texts).await.unwrap();
        rows += texts.take_batch().unwrap().map_or(0, |batch| batch.num_rows());
        if progress == (Progress::Done { rows: 4 }) {
            break;
        }
    }
    assert_eq!(rows, 4);

    // What is no binary COPY is refused, and the connection is given up.
    for sql in ["COPY (SELECT 1) TO STDOUT", "SELECT 1"] {
        let mut connection = source.connect_copy().await.unwrap();
        assert_eq!(connection.start_copy(sql).await.unwrap_err().code(), Code::Internal);
        assert_eq!(connection.execute("SELECT 1").await.unwrap_err().code(), Code::Internal);
    }
}

#[tokio::test]
async fn silence_locks_and_abandoned_copies() {
    let server = Postgres::start();
    let source = SourceConfig::parse(&server.database("abandoned")).unwrap().with_application_name("abandoned");
    let client = source.connect().await.unwrap();
    let quick = source.clone().with_read_timeout(Some(Duration::from_millis(300)));
    let mut connection = quick.connect_copy().await.unwrap();
    // Many rows, and then silence.
    let sql = "COPY (SELECT g FROM pg_catalog.generate_series(1, 100000) g UNION ALL \
               SELECT 1 FROM pg_catalog.pg_sleep(30)) TO STDOUT (FORMAT binary)";
    connection.start_copy(sql).await.unwrap();
    let error = drain(&mut connection, &mut decoder(Kind::Int4)).await.unwrap_err();
    assert_error(&error, Code::Unavailable, "PostgreSQL sent nothing for 300ms", "locks");
    drop(connection);

    client.batch_execute("CREATE TABLE t ()").await.unwrap();
    client.batch_execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let mut other = source.connect_copy().await.unwrap();
    other.execute("BEGIN").await.unwrap();
    let error = other.execute("LOCK TABLE public.t IN ACCESS SHARE MODE NOWAIT").await.unwrap_err();
    assert_eq!((error.code(), sqlstate_of(&error)), (Code::Unavailable, Some("55P03")));
    client.batch_execute("ROLLBACK").await.unwrap();
    other.close().await;

    let mut connection = source.connect_copy().await.unwrap();
    connection.start_copy(sql).await.unwrap();
    drop(connection);
    let running = "SELECT count(*) FROM pg_stat_activity \
                   WHERE application_name = 'abandoned' AND state = 'active' AND query LIKE 'COPY%'";
    let deadline = Instant::now() + Duration::from_secs(5);
    while client.query_one(running, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        assert!(Instant::now() < deadline, "the abandoned COPY still runs");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_source_says_who_it_is() {
    let server = Postgres::start();
    let source = SourceConfig::parse(&server.database("identity")).unwrap();
    let client = source.connect().await.unwrap();
    let identity = identify(&client).await.unwrap();
    assert_eq!((identity.database.as_str(), identity.encoding.as_str()), ("identity", "UTF8"));
    assert!(identity.server_version_num >= 140_000 && !identity.is_in_recovery);
    assert_eq!(identity.pooling, Pooling::None);
    let control = server.psql("identity", "SELECT system_identifier FROM pg_control_system()");
    assert_eq!(identity.system_identifier.map(|id| id.to_string()), Some(control));
    assert_eq!(identity.locale.as_deref(), Some("en-US"));
    client.close().await;
}

#[tokio::test]
async fn poolers_are_seen() {
    let server = Postgres::start();
    for (is_shared, expect) in [(true, Pooling::Transaction), (false, Pooling::Session)] {
        let port = pooler(server.directory().join(format!(".s.PGSQL.{}", server.port())), is_shared);
        let url = format!("postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable");
        let client = SourceConfig::parse(&url).unwrap().connect().await.unwrap();
        assert_eq!(identify(&client).await.unwrap().pooling, expect);
    }
}

/// As much of a pooler as matters: it makes up cancel keys, and its clients share one backend between transactions, or
/// not.
fn pooler(socket: PathBuf, is_shared: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let shared = Arc::new(Mutex::new(backend(&socket)));
    std::thread::spawn(move || {
        for (number, client) in listener.incoming().enumerate() {
            let backend = if is_shared { shared.clone() } else { Arc::new(Mutex::new(backend(&socket))) };
            // A client that goes away ends its thread by an error, which is no failure of the test.
            std::thread::spawn(move || serve(client?, &backend, number as u8));
        }
    });
    port
}

fn backend(socket: &Path) -> UnixStream {
    let mut backend = UnixStream::connect(socket).unwrap();
    let body = b"\0\x03\0\0user\0postgres\0database\0postgres\0client_encoding\0UTF8\0\0";
    backend.write_all(&[&(body.len() as u32 + 4).to_be_bytes()[..], body].concat()).unwrap();
    while read_message(&mut backend).unwrap()[0] != b'Z' {}
    backend
}

fn serve(mut client: TcpStream, backend: &Mutex<UnixStream>, number: u8) -> io::Result<()> {
    let mut length = [0; 4];
    client.read_exact(&mut length)?;
    client.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize - 4])?;
    client.write_all(b"R\0\0\0\x08\0\0\0\0S\0\0\0\x19client_encoding\0UTF8\0")?;
    client.write_all(&[b'K', 0, 0, 0, 12, 0x7f, 0, 0, number, 1, 2, 3, 4, b'Z', 0, 0, 0, 5, b'I'])?;
    let mut held = None;
    let mut waiting = Vec::new();
    loop {
        let message = read_message(&mut client)?;
        waiting.extend_from_slice(&message);
        if message[0] == b'X' {
            return Ok(());
        }
        // A simple query, or the end of an extended one.
        if matches!(message[0], b'Q' | b'S') {
            let backend = held.get_or_insert_with(|| backend.lock().unwrap());
            backend.write_all(&std::mem::take(&mut waiting))?;
            let mut answer = read_message(&mut **backend)?;
            while answer[0] != b'Z' {
                client.write_all(&answer)?;
                answer = read_message(&mut **backend)?;
            }
            if answer[5] == b'I' {
                held = None;
            }
            client.write_all(&answer)?;
        }
    }
}

fn read_message(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut message = vec![0; 5];
    stream.read_exact(&mut message)?;
    let length = u32::from_be_bytes([message[1], message[2], message[3], message[4]]);
    message.resize(length as usize + 1, 0);
    stream.read_exact(&mut message[5..])?;
    Ok(message)
}

//! What the program says, and how it exits, when it can't do what it was asked.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, path::Path};

use tempfile::TempDir;

use crate::harness::{
    certificate::Pair,
    directory,
    program::{self, Finished},
    sidecar::Sidecar,
};

/// A configuration without a fault, in a directory of its own.
fn good(directory: &TempDir) -> String {
    let pair = Pair::make("localhost", directory.path());
    let socket = directory.path().join("publish.sock");
    format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n\
         [[certificate]]\ncertificate = {certificate:?}\nkey = {key:?}\n\
         [publish]\nsocket = {socket:?}\n\
         [[site]]\nname = \"main\"\nhosts = [\"localhost\"]\n\
         [site.upstream]\naddress = \"http://127.0.0.1:1\"\n\
         [[site.publish_key]]\nsecret = \"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"\n",
        certificate = pair.certificate,
        key = pair.key,
    )
}

async fn with(command: &str, directory: &TempDir, text: &str) -> Finished {
    let file = directory.path().join("sidewire.toml");
    fs::write(&file, text).unwrap();
    program::run(&[command, "--config", file.to_str().unwrap()]).await
}

#[tokio::test]
async fn every_fault_of_a_file_is_told_at_once_with_key_value_and_remedy() {
    let directory = directory();
    let text = good(&directory)
        .replace("127.0.0.1:0", "localhost")
        .replace(
            "[publish]",
            "[publish]\nread_timeout = \"30\"\nsokcet = \"x\"",
        )
        .replace("[\"localhost\"]", "[\"local host\"]")
        .replace("whsec_AAEC", "whsec-AAEC");
    for command in ["run", "check"] {
        let finished = with(command, &directory, &text).await;
        assert_eq!(finished.code, Some(78), "{}", finished.stderr);
        assert_eq!(finished.stdout, "");
        let file = directory.path().join("sidewire.toml");
        let first = format!("{}: 5 faults", file.display());
        assert_eq!(
            finished.stderr.lines().next(),
            Some(&*first),
            "{}",
            finished.stderr
        );
        for (fault, remedy) in [
            (
                "listener[0].address = \"localhost\"",
                "an IP address with a port",
            ),
            ("publish.read_timeout = \"30\"", "a time with its unit"),
            ("publish.sokcet = \"x\"", "did you mean `socket`?"),
            ("site[0].hosts", "host"),
            ("site[0].publish_key[0].secret", "sidewire secret new"),
        ] {
            let line = finished.stderr.lines().find(|line| line.contains(fault));
            let line = line.unwrap_or_else(|| panic!("no {fault} in {}", finished.stderr));
            assert!(line.contains(remedy), "{line}");
        }
    }
}

#[tokio::test]
async fn a_secret_with_a_fault_is_never_shown() {
    let directory = directory();
    for (right, wrong) in [
        ("whsec_AAEC", "whsec-AAEC"),
        ("whsec_AAEC", "AAEC"),
        ("Hh8=", "Hh8"),
    ] {
        let text = good(&directory).replace(right, wrong);
        let finished = with("check", &directory, &text).await;
        assert_eq!(finished.code, Some(78), "{wrong}");
        let said = finished.stderr;
        assert!(said.contains("site[0].publish_key[0].secret"), "{said}");
        assert!(!said.contains("AwQFBgcI"), "{said}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_or_is_no_toml_is_a_fault_of_the_configuration() {
    let directory = directory();
    let missing = directory.path().join("missing.toml");
    let finished = program::run(&["run", "--config", missing.to_str().unwrap()]).await;
    assert_eq!(finished.code, Some(78));
    assert!(
        finished.stderr.contains("missing.toml"),
        "{}",
        finished.stderr
    );
    assert!(
        finished.stderr.contains("cannot be read"),
        "{}",
        finished.stderr
    );
    let finished = with("run", &directory, "[[listener]]\naddress = \n").await;
    assert_eq!(finished.code, Some(78));
    assert!(finished.stderr.contains("line 2"), "{}", finished.stderr);
}

#[tokio::test]
async fn a_log_filter_that_cannot_be_read_is_a_fault_of_the_configuration() {
    let directory = directory();
    let text = good(&directory) + "[log]\nfilter = \"info,=nonsense=\"\n";
    let finished = with("run", &directory, &text).await;
    assert_eq!(finished.code, Some(78), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("log.filter"),
        "{}",
        finished.stderr
    );
}

#[tokio::test]
async fn bad_usage_has_its_own_code() {
    for arguments in [
        &[][..],
        &["sing"],
        &["run", "--nonsense"],
        &["run", "--config"],
    ] {
        let finished = program::run(arguments).await;
        assert_eq!(finished.code, Some(64), "{arguments:?}");
        assert!(finished.stderr.contains("--help"), "{}", finished.stderr);
    }
    for arguments in [["--help"], ["--version"]] {
        let finished = program::run(&arguments).await;
        assert_eq!(finished.code, Some(0), "{arguments:?}");
        assert!(finished.stdout.contains("sidewire"), "{}", finished.stdout);
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_what_to_do() {
    let directory = directory();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let text = good(&directory).replace("127.0.0.1:0", &address);
    let finished = with("run", &directory, &text).await;
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert_eq!(finished.stdout, "", "not ready");
    let line = finished
        .stderr
        .lines()
        .find(|line| line.starts_with("sidewire: "));
    let line = line.unwrap_or_else(|| panic!("{}", finished.stderr));
    assert!(line.contains(&address) && line.contains("in use"), "{line}");
    assert!(line.contains("choose another address"), "{line}");
    assert!(
        !directory.path().join("publish.sock").exists(),
        "nothing is left behind"
    );
}

#[tokio::test]
async fn a_publish_socket_that_lives_is_left_alone() {
    let sidecar = Sidecar::start().await;
    let socket = sidecar.publish_socket();
    let directory = directory();
    let own = directory.path().join("publish.sock");
    let text = good(&directory).replace(own.to_str().unwrap(), socket.to_str().unwrap());
    let finished = with("run", &directory, &text).await;
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(
        finished.stderr.contains(socket.to_str().unwrap()),
        "{}",
        finished.stderr
    );
    sidecar.publisher().publish("site", &1.into()).await;
}

#[tokio::test]
async fn a_socket_file_of_a_process_that_was_killed_is_in_nobodys_way() {
    let directory = directory();
    let socket = directory.path().join("publish.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    let config = directory.path().join("sidewire.toml");
    fs::write(&config, good(&directory)).unwrap();
    let (process, lines) = program::serve(&config, &directory.path().join("log")).await;
    let expected = format!("sidewire: listening publish {}", socket.display());
    assert!(lines.contains(&expected), "{lines:?}");
    drop(process);
}

#[tokio::test]
async fn a_certificate_that_is_missing_is_told_by_check_and_stops_the_start() {
    let directory = directory();
    let text = good(&directory);
    let finished = with("check", &directory, &text).await;
    assert_eq!((finished.code, &*finished.stderr), (Some(0), ""));
    let certificate = directory.path().join("localhost.crt");
    fs::remove_file(&certificate).unwrap();
    for (command, code) in [("check", 78), ("run", 1)] {
        let finished = with(command, &directory, &text).await;
        assert_eq!(finished.code, Some(code), "{}", finished.stderr);
        let line = finished
            .stderr
            .lines()
            .find(|line| line.contains("localhost.crt"));
        let line = line.unwrap_or_else(|| panic!("{}", finished.stderr));
        assert!(line.contains("no such file"), "{line}");
    }
}

#[tokio::test]
async fn check_tells_faults_of_the_text_and_of_the_machine_together() {
    let directory = directory();
    let text = good(&directory)
        .replace("whsec_AAEC", "whsec-AAEC")
        .replace(
            "[publish]",
            "[log]\nfilter = \"a=b=c\"\n[publish]\ngroup = \"no-such\"",
        );
    fs::remove_file(directory.path().join("localhost.key")).unwrap();
    let finished = with("check", &directory, &text).await;
    assert_eq!(finished.code, Some(78));
    let told = finished.stderr;
    assert!(
        told.lines().next().unwrap().ends_with(": 4 faults"),
        "{told}"
    );
    for fault in [
        "publish_key[0].secret",
        "localhost.key",
        "publish.group",
        "log.filter",
    ] {
        assert!(told.contains(fault), "{fault}: {told}");
    }
}

#[tokio::test]
async fn a_start_that_fails_tells_the_cause() {
    let directory = directory();
    let socket = directory.path().join("publish.sock").display().to_string();
    let text = good(&directory).replace(&socket, "/proc/publish.sock");
    let finished = with("run", &directory, &text).await;
    assert_eq!(finished.code, Some(1));
    let line = finished.stderr.lines().last().unwrap();
    assert!(line.starts_with("sidewire: cannot bind"), "{line}");
    assert!(line.contains("(os error "), "{line}");
}

#[tokio::test]
async fn certs_dev_makes_a_pair_and_keeps_it() {
    let directory = directory();
    let out = directory.path().join("certs");
    let arguments = [
        "certs",
        "dev",
        "--host",
        "localhost",
        "--out",
        out.to_str().unwrap(),
    ];
    let finished = program::run(&arguments).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let printed: Vec<&Path> = finished.stdout.lines().map(Path::new).collect();
    let (certificate, key) = (out.join("localhost.crt"), out.join("localhost.key"));
    assert_eq!(printed, [&*certificate, &*key]);
    let mode = fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let before = fs::read(&certificate).unwrap();
    assert_eq!(program::run(&arguments).await.code, Some(0));
    assert_eq!(fs::read(&certificate).unwrap(), before);
}

//! What is said of a pair that does not load.

use std::{os::unix::fs::PermissionsExt, path::PathBuf, process::Command};

use base64::{Engine, engine::general_purpose::STANDARD};
use tempfile::TempDir;
use x509_parser::asn1_rs::{Any, FromDer, Sequence};

use super::super::certificate::{Error, Pair};
use super::*;

/// Loads a good pair after `spoil` had its way with the files.
fn load(spoil: impl FnOnce(&config::Certificate)) -> Result<Pair, Error> {
    let dir = TempDir::new().unwrap();
    let files = make(&["localhost"]).write(dir.path(), "pair");
    spoil(&files);
    Pair::load(&files)
}

fn message(spoil: impl FnOnce(&config::Certificate)) -> String {
    load(spoil).unwrap_err().to_string()
}

#[test]
fn names_are_hosts_wildcards_and_addresses_in_lower_case() {
    let dir = TempDir::new().unwrap();
    let names = ["Example.org", "*.example.org", "127.0.0.1", "::1"];
    let pair = Pair::load(&make(&names).write(dir.path(), "pair")).unwrap();
    assert_eq!(
        pair.names,
        ["example.org", "*.example.org", "127.0.0.1", "::1"]
    );
    assert!(pair.covers("shop.example.org"));
    assert!(!pair.covers("a.shop.example.org"));
    assert!(!pair.covers("org"));
}

#[test]
fn a_missing_file_is_named_with_the_way_to_make_one() {
    let text = message(|files| fs::remove_file(&files.key).unwrap());
    assert!(text.contains("pair.key: no such file"), "{text}");
    assert!(text.contains("sidewire certs dev"), "{text}");
}

#[test]
fn swapped_paths_are_recognised_from_either_side() {
    let text = message(|files| {
        fs::copy(&files.certificate, &files.key).unwrap();
    });
    assert!(text.contains("this is a certificate, not a key"), "{text}");
    let text = message(|files| {
        fs::copy(&files.key, &files.certificate).unwrap();
    });
    assert!(
        text.contains("this is a private key, not a certificate"),
        "{text}"
    );
}

#[test]
fn files_without_what_is_wanted_are_told_apart() {
    let text = message(|files| fs::write(&files.certificate, "hello\n").unwrap());
    assert!(text.contains("there is no certificate in it"), "{text}");
    let text = message(|files| fs::write(&files.key, "").unwrap());
    assert!(text.contains("there is no private key in it"), "{text}");
    let text = message(|files| {
        let broken = "-----BEGIN PRIVATE KEY-----\n????\n-----END PRIVATE KEY-----\n";
        fs::write(&files.key, broken).unwrap();
    });
    assert!(text.contains("broken PEM"), "{text}");
}

#[test]
fn an_encrypted_key_is_told_with_the_command_that_opens_it() {
    for head in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
    ] {
        let text = message(|files| fs::write(&files.key, head).unwrap());
        assert!(text.contains("is encrypted"), "{text}");
        assert!(text.contains("openssl pkey"), "{text}");
    }
}

#[test]
fn a_fifo_or_a_directory_is_refused_without_waiting_for_it() {
    let text = message(|files| {
        fs::remove_file(&files.key).unwrap();
        assert!(
            Command::new("mkfifo")
                .arg(&files.key)
                .status()
                .unwrap()
                .success()
        );
    });
    assert!(text.contains("not a file"), "{text}");
    let text = message(|files| {
        fs::remove_file(&files.key).unwrap();
        fs::create_dir(&files.key).unwrap();
    });
    assert!(text.contains("not a file"), "{text}");
}

#[test]
fn a_denied_file_names_the_user_and_the_step_that_stops_it() {
    let error = Error::Denied {
        path: PathBuf::from("/etc/letsencrypt/live/x/privkey.pem"),
        user: 998,
        at: PathBuf::from("/etc/letsencrypt/live"),
    };
    let text = error.to_string();
    assert!(text.contains("user 998"), "{text}");
    assert!(text.contains("stopped at /etc/letsencrypt/live;"), "{text}");

    let denied = load(|files| {
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o000)).unwrap();
    });
    // Root may read everything.
    if nix::unistd::geteuid().is_root() {
        assert!(denied.is_ok());
    } else {
        assert!(matches!(denied, Err(Error::Denied { .. })));
    }
}

/// The key inside a PKCS#8 wrapping: PKCS#1 of an RSA key, SEC1 of one on a curve.
fn unwrapped(key: &KeyPair) -> Vec<u8> {
    let (_, wrapping) = Sequence::from_der(key.serialized_der()).unwrap();
    let mut rest = wrapping.content.as_ref();
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let (after, part) = Any::from_der(rest).unwrap();
        parts.push(part.data.to_vec());
        rest = after;
    }
    parts.swap_remove(2)
}

#[test]
fn keys_load_in_all_three_forms() {
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let curve = KeyPair::generate().unwrap();
    let pem = |label: &str, der: &[u8]| {
        let text = STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    };
    let dir = TempDir::new().unwrap();
    let files = paths(dir.path(), "pair");
    for (key, text) in [
        (&curve, curve.serialize_pem()),
        (&curve, pem("EC PRIVATE KEY", &unwrapped(&curve))),
        (&rsa, rsa.serialize_pem()),
        (&rsa, pem("RSA PRIVATE KEY", &unwrapped(&rsa))),
    ] {
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(key).unwrap();
        fs::write(&files.certificate, certificate.pem()).unwrap();
        fs::write(&files.key, text).unwrap();
        Pair::load(&files).unwrap();
    }
}

#[test]
fn a_certificate_without_alternative_names_goes_by_its_common_name() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let name = &mut params.distinguished_name;
    name.push(rcgen::DnType::CommonName, "Old.example");
    let dir = TempDir::new().unwrap();
    let files = paths(dir.path(), "pair");
    fs::write(&files.certificate, params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    assert_eq!(Pair::load(&files).unwrap().names, ["old.example"]);
}

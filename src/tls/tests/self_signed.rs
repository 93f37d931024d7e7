//! The pair for development.

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::super::self_signed::{Error, write};
use super::*;

#[tokio::test]
async fn a_pair_for_localhost_serves_its_name_and_both_loopback_addresses() {
    let dir = TempDir::new().unwrap();
    let files = write("localhost", &dir.path().join("certs")).unwrap();
    assert_eq!(files, paths(&dir.path().join("certs"), "localhost"));
    let (certificates, faults) = Certificates::load(&[files], Metrics::default());
    assert!(faults.is_empty(), "{faults:?}");
    let names: Vec<String> = certificates.names().into_iter().collect();
    assert_eq!(names, ["127.0.0.1", "::1", "localhost"]);
    let server = Server::start(certificates, settings()).await;
    server.connect("localhost").await.unwrap();
}

#[test]
fn the_key_is_for_its_owner_alone_and_the_certificate_for_all() {
    let dir = TempDir::new().unwrap();
    let files = write("example.test", dir.path()).unwrap();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(files.key), 0o600);
    assert_eq!(mode(files.certificate), 0o644);
}

#[test]
fn a_pair_in_date_is_kept_and_any_other_of_ours_is_replaced() {
    let dir = TempDir::new().unwrap();
    let files = write("localhost", dir.path()).unwrap();
    let read = || fs::read_to_string(dir.path().join("localhost.crt")).unwrap();
    let first = read();
    write("localhost", dir.path()).unwrap();
    assert_eq!(read(), first);

    make_until(&["localhost"], SystemTime::now() - DAY).write(dir.path(), "localhost");
    let expired = read();
    write("localhost", dir.path()).unwrap();
    assert_ne!(read(), expired);

    fs::write(&files.key, "").unwrap();
    write("localhost", dir.path()).unwrap();
    let (_, faults) = Certificates::load(&[files], Metrics::default());
    assert!(faults.is_empty(), "{faults:?}");
}

#[test]
fn a_pair_of_another_authority_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let authority = rcgen::Issuer::new(
        CertificateParams::new([]).unwrap(),
        KeyPair::generate().unwrap(),
    );
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let key = KeyPair::generate().unwrap();
    let signed = params.signed_by(&key, &authority).unwrap();
    let files = paths(dir.path(), "localhost");
    fs::write(&files.certificate, signed.pem()).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    let error = write("localhost", dir.path()).unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
    assert_eq!(
        fs::read_to_string(&files.certificate).unwrap(),
        signed.pem()
    );
}

#[test]
fn what_is_no_host_name_is_refused() {
    let dir = TempDir::new().unwrap();
    for host in ["", "../x", "a b", "*.example.org", ".hidden", "https://x"] {
        let error = write(host, dir.path()).unwrap_err();
        assert!(matches!(error, Error::Host { .. }), "{host:?}: {error}");
    }
}

//! A self-signed pair for development: `localhost.crt` and `localhost.key`.
//!
//! It never replaces a pair that somebody else signed.

use std::{
    fs, io,
    io::Write,
    net::IpAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use tempfile::NamedTempFile;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::certificate::Pair;
use crate::config;

/// Browsers refuse certificates that hold for longer than 398 days.
const LIFE: Duration = Duration::from_secs(397 * 86_400);
/// Clocks in containers and virtual machines may be behind.
const SKEW: Duration = Duration::from_secs(86_400);

/// Why no pair could be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not the name of a host.
    #[error("{host:?} is no host name; expected letters, digits, dots and hyphens, or an address")]
    Host {
        /// As asked for.
        host: String,
    },
    /// Another's certificate is there.
    #[error("{path} was signed by another authority and is left alone; choose another directory")]
    Foreign {
        /// The certificate.
        path: PathBuf,
    },
    /// The library refused.
    #[error("the pair cannot be made")]
    Make(#[from] rcgen::Error),
    /// The disk refused.
    #[error("{path} cannot be written")]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
}

/// Writes a pair for `host` into `dir` and returns its paths. A pair that is there, fits, covers
/// `host` and is in date is kept.
///
/// For `localhost` the certificate is for 127.0.0.1 and ::1 as well. Blocks on the disk.
///
/// # Errors
///
/// Nothing was replaced.
pub fn write(host: &str, dir: &Path) -> Result<config::Certificate, Error> {
    let host = host.to_ascii_lowercase();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let is_name = !host.is_empty() && !host.starts_with('.') && host.chars().all(plain);
    if !is_name && host.parse::<IpAddr>().is_err() {
        return Err(Error::Host { host });
    }
    let files = config::Certificate {
        certificate: dir.join(format!("{host}.crt")),
        key: dir.join(format!("{host}.key")),
    };
    match Pair::load(&files) {
        Ok(pair) if !is_self_signed(&pair) => {
            return Err(Error::Foreign {
                path: files.certificate,
            });
        }
        Ok(pair) if pair.covers(&host) && pair.check_dates().is_ok() => return Ok(files),
        _ => {}
    }
    let (certificate, key) = make(host)?;
    let failed = |path: &Path, source| Error::Write {
        path: path.into(),
        source,
    };
    fs::create_dir_all(dir).map_err(|source| failed(dir, source))?;
    replace(&files.key, dir, &key, 0o600).map_err(|e| failed(&files.key, e))?;
    replace(&files.certificate, dir, &certificate, 0o644)
        .map_err(|e| failed(&files.certificate, e))?;
    Ok(files)
}

fn make(host: String) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut names = vec![host.clone()];
    if host == "localhost" {
        names.extend(["127.0.0.1".to_owned(), "::1".to_owned()]);
    }
    let mut params = CertificateParams::new(names)?;
    let now = SystemTime::now();
    params.not_before = (now - SKEW).into();
    params.not_after = (now + LIFE).into();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, host);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// Puts a whole file in place at once, with its mode from the start.
fn replace(path: &Path, dir: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = NamedTempFile::new_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(mode))?;
    file.persist(path)?;
    Ok(())
}

fn is_self_signed(pair: &Pair) -> bool {
    let leaf = pair.key.cert.first().map(AsRef::as_ref);
    leaf.and_then(|der| X509Certificate::from_der(der).ok())
        .is_some_and(|(_, leaf)| leaf.issuer() == leaf.subject())
}

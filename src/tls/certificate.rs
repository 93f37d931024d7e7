//! A certificate chain with its key: two PEM files → one pair that fits.
//!
//! The only file that reads PEM, so that its successor has one place to go to. It decides
//! nothing about what becomes of a pair that does not load.

use std::{
    fs,
    io::{self, Read},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use nix::{libc, unistd::geteuid};
use rustls_pemfile::Item;
use tokio_rustls::rustls::{
    self,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, prelude::FromDer, time::ASN1Time,
};

use crate::config;

/// Far more than any chain needs; a device or a log at the configured path stops here.
const FILE_MAX: u64 = 1 << 20;

/// A certificate chain whose key fits.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) key: Arc<CertifiedKey>,
    /// The names that the certificate is for, in lower case: hosts, `*.` wildcards and addresses.
    pub(super) names: Vec<String>,
    file: PathBuf,
    not_before: ASN1Time,
    not_after: ASN1Time,
}

/// Why a pair cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path leads nowhere.
    #[error("{path}: no such file; `sidewire certs dev` makes a pair for development")]
    Missing {
        /// As configured.
        path: PathBuf,
    },
    /// We may not read it.
    #[error(
        "{path}: user {user} may not read it, it is stopped at {at}; \
         give that to a group of the user's (`chgrp`, `chmod g+rX`)"
    )]
    Denied {
        /// As configured.
        path: PathBuf,
        /// The number of the user that this process runs as.
        user: u32,
        /// The file, or the first directory on the way that may not be entered.
        at: PathBuf,
    },
    /// A directory, a device, or a file that is no certificate by its size.
    #[error("{path}: not a file of 1 MiB at most")]
    NotAFile {
        /// As configured.
        path: PathBuf,
    },
    /// The system failed to read it.
    #[error("{path}: cannot be read")]
    Read {
        /// As configured.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Broken PEM, such as a file that is still being written.
    #[error("{path}: broken PEM, perhaps only half written")]
    Pem {
        /// As configured.
        path: PathBuf,
        /// What the reader said.
        source: io::Error,
    },
    /// Nothing usable where the chain should be.
    #[error("{path}: there is no certificate in it; expected PEM with BEGIN CERTIFICATE")]
    NoCertificate {
        /// As configured.
        path: PathBuf,
    },
    /// A key where the chain should be.
    #[error("{path}: this is a private key, not a certificate; are the two paths swapped?")]
    NotACertificate {
        /// As configured.
        path: PathBuf,
    },
    /// Nothing usable where the key should be.
    #[error("{path}: there is no private key in it; expected PEM with BEGIN PRIVATE KEY")]
    NoKey {
        /// As configured.
        path: PathBuf,
    },
    /// A certificate where the key should be.
    #[error("{path}: this is a certificate, not a key; are the two paths swapped?")]
    NotAKey {
        /// As configured.
        path: PathBuf,
    },
    /// A key that asks for a passphrase.
    #[error(
        "{path}: the key is encrypted; write it without its passphrase: \
         `openssl pkey -in {path} -out plain.key`"
    )]
    EncryptedKey {
        /// As configured.
        path: PathBuf,
    },
    /// A certificate that cannot be understood.
    #[error("{path}: not a certificate that can be read: {reason}")]
    BadCertificate {
        /// As configured.
        path: PathBuf,
        /// What the reader said.
        reason: String,
    },
    /// A key of an unknown kind.
    #[error("{path}: not a key that can be used; expected RSA (2048 bits or more), ECDSA, Ed25519")]
    BadKey {
        /// As configured.
        path: PathBuf,
        /// What the reader said.
        source: rustls::Error,
    },
    /// Halves of two pairs.
    #[error("{key}: the key does not fit the first certificate in {certificate}")]
    Mismatch {
        /// The chain, as configured.
        certificate: PathBuf,
        /// The key, as configured.
        key: PathBuf,
    },
    /// Too late.
    #[error("{path}: the certificate expired on {date}; renew it")]
    Expired {
        /// As configured.
        path: PathBuf,
        /// The last day, year first.
        date: String,
    },
    /// Too early.
    #[error("{path}: the certificate is valid from {date} on; is this machine's clock right?")]
    NotYetValid {
        /// As configured.
        path: PathBuf,
        /// The first day, year first.
        date: String,
    },
}

impl Pair {
    /// Reads both files. The pair fits; whether it is in date is another question.
    pub(super) fn load(files: &config::Certificate) -> Result<Self, Error> {
        let chain = read_chain(&files.certificate)?;
        let key = read_key(&files.key)?;
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(
            |error| match error {
                rustls::Error::InconsistentKeys(_) => Error::Mismatch {
                    certificate: files.certificate.clone(),
                    key: files.key.clone(),
                },
                rustls::Error::InvalidCertificate(reason) => Error::BadCertificate {
                    path: files.certificate.clone(),
                    reason: reason.to_string(),
                },
                source => Error::BadKey {
                    path: files.key.clone(),
                    source,
                },
            },
        )?;
        let bad = |reason: String| Error::BadCertificate {
            path: files.certificate.clone(),
            reason,
        };
        let leaf = key.end_entity_cert().map_err(|e| bad(e.to_string()))?;
        let (_, leaf) = X509Certificate::from_der(leaf).map_err(|e| bad(e.to_string()))?;
        let names = names(&leaf);
        let validity = leaf.validity();
        let (not_before, not_after) = (validity.not_before, validity.not_after);
        Ok(Self {
            key: Arc::new(key),
            names,
            file: files.certificate.clone(),
            not_before,
            not_after,
        })
    }

    /// Whether the certificate holds today.
    pub(super) fn check_dates(&self) -> Result<(), Error> {
        let now = ASN1Time::now();
        let path = self.file.clone();
        if now > self.not_after {
            let date = day(self.not_after);
            return Err(Error::Expired { path, date });
        }
        if now < self.not_before {
            let date = day(self.not_before);
            return Err(Error::NotYetValid { path, date });
        }
        Ok(())
    }

    /// The last day of the certificate, year first.
    pub(super) fn last_day(&self) -> String {
        day(self.not_after)
    }

    /// The end of the certificate's last second, in Unix seconds.
    pub(super) fn not_after(&self) -> i64 {
        self.not_after.timestamp()
    }

    /// Whether the certificate is for `host`, a lower-case name or an address.
    pub(super) fn covers(&self, host: &str) -> bool {
        let parent = host.split_once('.').map(|(_, parent)| parent);
        self.names
            .iter()
            .any(|name| name == host || (parent.is_some() && name.strip_prefix("*.") == parent))
    }
}

fn day(time: ASN1Time) -> String {
    time.to_datetime().date().to_string()
}

/// The alternative names; a certificate of before 2000, or made by hand, may have a common name
/// alone.
fn names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let mut names = Vec::new();
    if let Ok(Some(extension)) = leaf.subject_alternative_name() {
        for name in &extension.value.general_names {
            match name {
                GeneralName::DNSName(host) => names.push(host.to_ascii_lowercase()),
                GeneralName::IPAddress(bytes) => names.extend(address(bytes)),
                _ => {}
            }
        }
    }
    if names.is_empty() {
        let common = leaf.subject().iter_common_name();
        names.extend(common.filter_map(|name| Some(name.as_str().ok()?.to_ascii_lowercase())));
    }
    names
}

fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4.or(v6).ok().map(|address| address.to_string())
}

/// Certificates that a client of ours trusts: all that stand in `files`, a server's own among them.
///
/// # Errors
///
/// A file that cannot be read, or holds none.
pub fn trusted(files: &[&Path]) -> Result<rustls::RootCertStore, Error> {
    let mut store = rustls::RootCertStore::empty();
    for file in files {
        // What can't be an anchor helps no client, and harms none.
        let _ = store.add_parsable_certificates(read_chain(file)?);
    }
    Ok(store)
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = read(path)?;
    let mut chain = Vec::new();
    let mut has_key = false;
    for item in rustls_pemfile::read_all(&mut text.as_slice()) {
        match item.map_err(|source| Error::Pem {
            path: path.into(),
            source,
        })? {
            Item::X509Certificate(certificate) => chain.push(certificate),
            Item::Pkcs1Key(_) | Item::Pkcs8Key(_) | Item::Sec1Key(_) => has_key = true,
            _ => {}
        }
    }
    match (chain.is_empty(), has_key) {
        (false, _) => Ok(chain),
        (true, true) => Err(Error::NotACertificate { path: path.into() }),
        (true, false) => Err(Error::NoCertificate { path: path.into() }),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let text = read(path)?;
    // Both kinds of encrypted PEM say so in plain words; the reader knows neither.
    if text.windows(9).any(|word| word == b"ENCRYPTED") {
        return Err(Error::EncryptedKey { path: path.into() });
    }
    let mut has_certificate = false;
    for item in rustls_pemfile::read_all(&mut text.as_slice()) {
        match item.map_err(|source| Error::Pem {
            path: path.into(),
            source,
        })? {
            Item::Pkcs8Key(key) => return Ok(key.into()),
            Item::Pkcs1Key(key) => return Ok(key.into()),
            Item::Sec1Key(key) => return Ok(key.into()),
            Item::X509Certificate(_) => has_certificate = true,
            _ => {}
        }
    }
    if has_certificate {
        return Err(Error::NotAKey { path: path.into() });
    }
    Err(Error::NoKey { path: path.into() })
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => Error::Missing { path: path.into() },
        io::ErrorKind::PermissionDenied => Error::Denied {
            path: path.into(),
            user: geteuid().as_raw(),
            at: denied_at(path),
        },
        _ => Error::Read {
            path: path.into(),
            source,
        },
    };
    // Opening a FIFO would otherwise wait for its writer.
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() || found.len() > FILE_MAX {
        return Err(Error::NotAFile { path: path.into() });
    }
    let mut text = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}

/// The first step on the way to `path` that may not be taken.
fn denied_at(path: &Path) -> PathBuf {
    let mut steps: Vec<&Path> = path.ancestors().filter(|p| *p != Path::new("")).collect();
    steps.reverse();
    let blocked = steps.iter().find(|step| {
        fs::metadata(step).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    });
    // What cannot be looked at lies in a directory that cannot be entered.
    blocked
        .and_then(|step| step.parent())
        .unwrap_or(path)
        .to_owned()
}

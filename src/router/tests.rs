//! Tables: host and path in, route out.

use super::{Refused, Route, Router, Target};
use crate::config;

const CONFIG: &str = r#"
[[listener]]
address = "127.0.0.1:0"
tls = false
[[site]]
name = "files"
hosts = ["Files.example", "localhost"]
[site.fastcgi]
address = "unix:/run/php.sock"
root = "/"
[[site]]
name = "upstream"
hosts = ["upstream.example"]
[site.upstream]
address = "http://127.0.0.1:8080"
"#;

fn router() -> Router {
    Router::new(&config::parse(CONFIG).unwrap().sites, "/realtime")
}

/// The decoded path, or the status and reason of the refusal.
fn files(path: &str) -> Result<String, (u16, &'static str)> {
    match router().route("localhost", path) {
        Ok(Route {
            site: 0,
            target: Target::Files { path },
        }) => Ok(path.escape_ascii().to_string()),
        Ok(other) => panic!("{path}: {other:?}"),
        Err(Refused { status, reason }) => Err((status.as_u16(), reason)),
    }
}

#[test]
fn a_host_leads_to_its_site_and_an_unknown_one_to_none() {
    let router = router();
    assert_eq!(router.site("files.example"), Some(0));
    assert_eq!(router.site("upstream.example"), Some(1));
    let refused = router.route("other.example", "/realtime").unwrap_err();
    assert_eq!(refused.status.as_u16(), 421);
}

#[test]
fn the_realtime_path_is_met_exactly() {
    let router = router();
    for host in ["localhost", "upstream.example"] {
        let target = router.route(host, "/realtime").unwrap().target;
        assert_eq!(target, Target::Realtime);
        for other in ["/realtime/", "/Realtime", "/realtimes", "//realtime"] {
            let target = router.route(host, other).unwrap().target;
            assert_ne!(target, Target::Realtime, "{other}");
        }
    }
}

#[test]
fn a_path_is_decoded_once_and_normalised() {
    for (raw, normal) in [
        ("/", "/"),
        ("", "/"),
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b/"),
        ("//a///b//", "/a/b/"),
        ("/a/./b/.", "/a/b/"),
        ("/a/b/..", "/a/"),
        ("/a/../b", "/b"),
        ("/%61%2Fb", "/a%2Fb"),
        ("/%2561", "/%61"),
        ("/a/%2e%2e/b", "/b"),
        ("/%C3%A9", "/\\xc3\\xa9"),
        ("/%ff", "/\\xff"),
        ("/a+b c", "/a+b c"),
        ("/a..b/c...", "/a..b/c..."),
    ] {
        assert_eq!(files(raw), Ok(normal.to_owned()), "{raw}");
    }
}

#[test]
fn a_path_that_cannot_be_meant_is_a_bad_request() {
    for (raw, reason) in [
        ("/%00", "path_control"),
        ("/a%0d", "path_control"),
        ("/a%0Ab", "path_control"),
        ("/%", "path_encoding"),
        ("/%4", "path_encoding"),
        ("/%zz", "path_encoding"),
        ("/%+1", "path_encoding"),
        ("/..", "path_above_root"),
        ("/a/../../b", "path_above_root"),
        ("/%2e%2E/etc/passwd", "path_above_root"),
    ] {
        assert_eq!(files(raw), Err((400, reason)), "{raw}");
        let refused = router().route("upstream.example", raw).unwrap_err();
        assert_eq!(refused.reason, reason, "{raw}");
    }
}

const DENIED: &[&str] = &[
    "/.env",
    "/.git/config",
    "/%2egit/config",
    "/a/.htaccess",
    "/a/.well-known/x",
    "/.well-known/.git",
    "/wp-config.php",
    "/WP-Config.PHP",
    "/%77p-config.php",
    "/wp-config.php/",
    "/wp-config.php/x",
    "/wp-config.php.",
    "/blog/wp-config-sample.php",
    "/wp-config.php.bak",
    "/wp-config.php~",
    "/wp-config_old.txt",
    "/index.php~",
    "/index.php.bak",
    "/index.php.swp",
    "/index.phps",
    "/dump.sql",
    "/dump.SQL.gz",
    "/php.ini",
    "/a/deploy.sh",
    "/site.env",
    "/composer.json",
    "/wp-content/plugins/x/composer.lock",
    "/wp-content/debug.log",
    "/wp-content/debug.log.",
    "/error.log/",
    "/wp-admin/includes",
    "/wp-admin/includes/",
    "/wp-admin/includes/file.php",
    "/blog//wp-admin/./includes/file.php",
    "/wp-includes/version.php",
    "/wp-includes/js/tinymce/other.php",
    "/wp-includes/a/b/c.php/info",
    "/wp-includes/ms-files.php/x",
    "/wp-content/uploads/x.php",
    "/wp-content/uploads/2026/11/x.pHp7",
    "/wp-content/uploads/x.php/",
    "/wp-content/uploads/x.php/info",
    "/wp-content/uploads/x.php.",
    "/wp-content/uploads/x.%70hp",
    "/wp-content/uploads/x.php.jpg",
    "/wp-content/uploads/x.jpg.php",
    "/wp-content/uploads/x.phtml",
    "/wp-content/uploads/x.phar",
    "/wp-content/uploads/../uploads/x.pht",
    "/blog/wp-content/cache/x.php",
    "/wp-content/upgrade/a/x.php",
    "/wp-content/files/x.php",
    "/wp-content/blogs.dir/2/x.php",
    "/files/x.php",
    "/app/uploads/x.php",
];

const SERVED: &[&str] = &[
    "/",
    "/index.php",
    "/index.php/2026/11/",
    "/wp-login.php",
    "/wp-cron.php",
    "/xmlrpc.php",
    "/wp-admin/",
    "/wp-admin/admin-ajax.php",
    "/wp-includes/ms-files.php",
    "/wp-includes/js/tinymce/wp-tinymce.php",
    "/wp-includes/js/jquery/jquery.min.js",
    "/wp-content/uploads/2026/11/photo.jpg",
    "/wp-content/uploads/php.jpg",
    "/wp-content/uploads/my.phpinfo.png",
    "/wp-content/plugins/x/x.php",
    "/wp-content/plugins/x/files/x.php",
    "/.well-known/acme-challenge/token",
    "/wp-config-explained/",
    "/2026/11/how-to-read-a-log/",
    "/tag/sql/",
    "/a..b",
    "/files/photo.jpg",
];

#[test]
fn what_is_never_served_looks_missing_at_both_kinds_of_back_end() {
    for path in DENIED {
        assert_eq!(files(path), Err((404, "denied_path")), "{path}");
        let refused = router().route("upstream.example", path).unwrap_err();
        assert_eq!(refused.status.as_u16(), 404, "{path}");
    }
}

#[test]
fn what_wordpress_needs_is_served() {
    for path in SERVED {
        assert!(files(path).is_ok(), "{path}");
        let route = router().route("upstream.example", path).unwrap();
        assert_eq!((route.site, route.target), (1, Target::Upstream), "{path}");
    }
}

#[test]
fn an_encoded_slash_hides_nothing_from_an_upstream_that_decodes_it() {
    let refused = |path| router().route("upstream.example", path).unwrap_err().status;
    assert_eq!(refused("/wp-content%2Fuploads%2fx.php"), 404);
    assert_eq!(refused("/a%2f.git%2fconfig"), 404);
    assert_eq!(refused("/a%2f..%2f..%2fetc"), 400);
    // For files it is three characters of a name, and no such name exists.
    let literal = files("/wp-content%2Fx.css");
    assert_eq!(literal, Ok("/wp-content%2Fx.css".into()));
}

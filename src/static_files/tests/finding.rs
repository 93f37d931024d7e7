//! What a path means.

use std::{fs, os::unix::ffi::OsStrExt, path::Path};

use super::{Found, Site, meaning};
use crate::static_files::{
    Error, StaticFiles,
    root::{Entry, Root},
};

async fn check(site: &Site, cases: &[(&str, &str)]) {
    let files = site.files();
    for (path, expected) in cases {
        assert_eq!(meaning(&files, path).await, *expected, "{path}");
    }
}

#[tokio::test]
async fn wordpress_finds_its_files_and_scripts() {
    let site = Site::with(&[
        "index.php",
        "wp-login.php",
        "wp-admin/index.php",
        "wp-admin/css/login.min.css",
        "wp-content/themes/a/style.css",
        "static/index.html",
        "static/empty/x.txt",
        ".well-known/acme-challenge/token",
        "ä b.txt",
    ]);
    let cases = [
        ("/", "script /index.php"),
        ("/index.php", "script /index.php"),
        ("/index.php/", "script /index.php /"),
        ("/index.php/a/b", "script /index.php /a/b"),
        ("/2026/11/a-post/", "script /index.php"),
        ("/wp-login.php", "script /wp-login.php"),
        ("/wp-admin", "slash"),
        ("/wp-admin/", "script /wp-admin/index.php"),
        ("/wp-admin/css", "script /index.php"),
        (
            "/wp-admin/css/login.min.css",
            "file wp-admin/css/login.min.css",
        ),
        ("/wp-admin/css/login.min.css/", "script /index.php"),
        ("/wp-admin/none.php", "script /index.php"),
        (
            "/wp-content/themes/a/style.css",
            "file wp-content/themes/a/style.css",
        ),
        ("/static", "slash"),
        ("/static/", "file static/index.html"),
        ("/static/empty", "script /index.php"),
        ("/static/empty/", "script /index.php"),
        (
            "/.well-known/acme-challenge/token",
            "file .well-known/acme-challenge/token",
        ),
        ("/ä b.txt", "file ä b.txt"),
        ("/favicon.ico", "script /index.php"),
        ("/a%2Fb", "script /index.php"),
    ];
    check(&site, &cases).await;
    let long = format!("/{}", "a".repeat(5_000));
    check(&site, &[(&long, "script /index.php")]).await;
}

#[tokio::test]
async fn a_script_is_split_at_its_longest_name_that_is_a_file() {
    let site = Site::with(&[
        "index.php",
        "a.php",
        "dir.php/b.php",
        "dir.php/style.css",
        "wp-content/x.jpg",
        "caſe.php",
        "upper.PHP",
    ]);
    let cases = [
        ("/a.php/b.php", "script /a.php /b.php"),
        ("/a.php/b.php/c", "script /a.php /b.php/c"),
        ("/dir.php/b.php", "script /dir.php/b.php"),
        ("/dir.php/b.php/c.php/d", "script /dir.php/b.php /c.php/d"),
        ("/dir.php/style.css", "file dir.php/style.css"),
        ("/dir.php/none", "script /index.php"),
        ("/wp-content/x.jpg/y.php", "script /index.php"),
        ("/x.php/../a.php", "404 hidden"),
        ("/a.phpx/b", "script /index.php"),
        ("/a.ph\u{fb01}/b", "script /index.php"),
        ("/upper.PHP", "script /index.php"),
        ("/upper.PHP/a", "script /index.php"),
    ];
    check(&site, &cases).await;
}

#[tokio::test]
async fn nothing_under_uploads_is_ever_run() {
    let site = Site::with(&[
        "index.php",
        "wp-content/uploads/2026/index.php",
        "wp-content/uploads/2026/photo.jpg",
        "wp-content/uploads/shell.php",
        "wp-content/cache/index.php",
        "wp-content/plugins/uploads/index.php",
        "blog/wp-content/uploads/index.php",
        "files/index.php",
    ]);
    site.link("root/shortcut.php", "wp-content/uploads/shell.php");
    site.link(
        "root/wp-content/uploads/out.php",
        "../plugins/uploads/index.php",
    );
    let cases = [
        ("/wp-content/uploads/2026", "script /index.php"),
        ("/wp-content/uploads/2026/", "script /index.php"),
        (
            "/wp-content/uploads/2026/photo.jpg",
            "file wp-content/uploads/2026/photo.jpg",
        ),
        (
            "/wp-content/uploads/2026/photo.jpg/x.php",
            "script /index.php",
        ),
        ("/wp-content/uploads/shell.php", "script /index.php"),
        ("/wp-content/uploads/shell.php/a", "script /index.php"),
        ("/wp-content/cache/", "script /index.php"),
        (
            "/wp-content/plugins/uploads/",
            "script /wp-content/plugins/uploads/index.php",
        ),
        ("/blog/wp-content/uploads/", "script /index.php"),
        ("/files/", "script /index.php"),
        ("/shortcut.php", "script /index.php"),
        ("/wp-content/uploads/out.php", "script /index.php"),
    ];
    check(&site, &cases).await;
}

#[tokio::test]
async fn a_script_s_text_is_never_shown() {
    let names = [
        "wp-config.PHP",
        "a.phtml",
        "a.phar",
        "a.pht",
        "a.phps",
        "a.php5",
        "a.Php7",
    ];
    let site = Site::with(&names);
    site.write("root/index.php", "<?php");
    site.link("root/config.txt", "wp-config.PHP");
    site.link("root/index.html", "index.php");
    site.write("root/notes.txt", "");
    site.link("root/notes.php5", "notes.txt");
    site.link("root/notes.php", "notes.txt");
    let files = site.files();
    let links = ["config.txt", "index.html", "notes.php5", "notes.php"];
    for name in names.iter().chain(&links) {
        assert_eq!(
            meaning(&files, format!("/{name}")).await,
            "script /index.php",
            "{name}"
        );
    }
}

#[tokio::test]
async fn dotfiles_and_paths_that_are_not_normal_do_not_exist() {
    let site = Site::with(&["index.php", ".htaccess", ".git/config", ".well-known/.x"]);
    site.write("secret", "outside");
    site.link("root/visible.txt", ".htaccess");
    let cases = [
        ("/.htaccess", "404 hidden"),
        ("/.git/config", "404 hidden"),
        ("/.git", "404 hidden"),
        ("/a/.b/c", "404 hidden"),
        ("/.well-known/.x", "404 hidden"),
        ("/../secret", "404 hidden"),
        ("/a/../../secret", "404 hidden"),
        ("/a\0.php", "404 hidden"),
        ("index.php", "404 hidden"),
        ("", "404 hidden"),
        ("/visible.txt", "script /index.php"),
    ];
    check(&site, &cases).await;
}

#[tokio::test]
async fn links_may_lead_anywhere_inside_the_root_and_nowhere_else() {
    let site = Site::with(&["index.php", "a/real.css", "a/real.php"]);
    site.write("outside/secret.css", "secret");
    site.write("outside/script.php", "secret");
    site.write("outside/index.html", "secret");
    site.write("root-beside/secret.css", "secret");
    site.link("root/inside.css", "a/real.css");
    site.link("root/inside.php", site.path("root/a/real.php"));
    site.link("root/out", "../outside");
    site.link("root/out.css", site.path("outside/secret.css"));
    site.link("root/out.php", "../outside/script.php");
    site.link("root/beside.css", "../root-beside/secret.css");
    site.link("root/a/index.html", "../../outside/index.html");
    site.link("root/proc", "/proc/self/root/etc/passwd");
    site.link("root/loop", "loop");
    site.link("root/gone.css", "nowhere");
    let cases = [
        ("/inside.css", "file a/real.css"),
        ("/inside.php", "script /inside.php"),
        ("/inside.php/x", "script /inside.php /x"),
        ("/out", "404 outside_root"),
        ("/out/", "404 outside_root"),
        ("/out/secret.css", "404 outside_root"),
        ("/out.css", "404 outside_root"),
        ("/out.php", "404 outside_root"),
        ("/out.php/x", "404 outside_root"),
        ("/beside.css", "404 outside_root"),
        ("/a/", "404 outside_root"),
        ("/proc", "404 outside_root"),
        ("/loop", "script /index.php"),
        ("/gone.css", "script /index.php"),
    ];
    check(&site, &cases).await;
}

#[tokio::test]
async fn an_extra_root_belongs_to_the_site() {
    let site = Site::with(&["index.php"]);
    site.write("shared/wp-content/plugins/p/x.php", "");
    site.write("shared/wp-content/uploads/a.jpg", "photo");
    site.write("shared/wp-content/uploads/index.php", "");
    site.link("root/wp-content", "../shared/wp-content");
    let mut config = site.config();
    config.extra_roots = vec![site.path("shared")];
    let files = StaticFiles::new(&config).unwrap();
    for (path, expected) in [
        (
            "/wp-content/plugins/p/x.php",
            "script /wp-content/plugins/p/x.php",
        ),
        ("/wp-content/uploads/a.jpg", "file photo"),
        ("/wp-content/uploads/", "script /index.php"),
    ] {
        assert_eq!(meaning(&files, path).await, expected);
    }
    let Ok(Found::Script(script)) = files.find(b"/wp-content/plugins/p/x.php").await else {
        panic!("no script");
    };
    assert_eq!(script.file, site.path("shared/wp-content/plugins/p/x.php"));
}

#[tokio::test]
async fn a_root_that_is_a_link_may_be_turned_to_another_release() {
    let site = Site::with(&[]);
    for release in ["1", "2"] {
        site.write(&format!("releases/{release}/a.css"), release);
        site.write(&format!("releases/{release}/index.php"), release);
    }
    site.link("current", "releases/1");
    let mut config = site.config();
    config.root = site.path("current");
    let files = StaticFiles::new(&config).unwrap();
    assert_eq!(meaning(&files, "/a.css").await, "file 1");
    site.link("next", "releases/2");
    fs::rename(
        site.directory.path().join("next"),
        site.directory.path().join("current"),
    )
    .unwrap();
    assert_eq!(meaning(&files, "/a.css").await, "file 2");
    let Ok(Found::Script(script)) = files.find(b"/").await else {
        panic!("no script");
    };
    assert_eq!(script.file, site.path("releases/2/index.php"));
}

#[tokio::test]
async fn what_is_no_file_is_nothing_and_holds_nobody_up() {
    let site = Site::with(&["index.php"]);
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    let pipe = site.path("root/pipe.css");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(site.path("root/s.css")).unwrap();
    site.link("root/null.css", "/dev/null");
    let cases = [
        ("/pipe.css", "script /index.php"),
        ("/s.css", "script /index.php"),
        ("/null.css", "404 outside_root"),
    ];
    check(&site, &cases).await;
}

#[test]
fn what_was_judged_is_what_is_opened() {
    let site = Site::with(&["a.css"]);
    site.write("secret", "secret");
    let root = Root::new(&site.config()).unwrap();
    let Ok(Entry::File(place)) = root.look(b"/a.css") else {
        panic!("no file");
    };
    fs::remove_file(site.path("root/a.css")).unwrap();
    site.link("root/a.css", site.path("secret"));
    let text = std::io::read_to_string(place.open().unwrap());
    assert_eq!(text.unwrap(), "a.css");
}

#[tokio::test]
async fn names_need_not_be_utf_8() {
    let site = Site::with(&["index.php"]);
    for name in [&b"caf\xe9.css"[..], b"caf\xe9.php"] {
        let name = Path::new(std::ffi::OsStr::from_bytes(name)).to_owned();
        fs::write(site.path("root").join(name), "coffee").unwrap();
    }
    let files = site.files();
    assert_eq!(meaning(&files, b"/caf\xe9.css").await, "file coffee");
    assert_eq!(meaning(&files, b"/caf\xe9.php").await, "script /index.php");
    let rest = meaning(&files, b"/index.php/caf\xe9").await;
    assert_eq!(rest, "script /index.php /caf\u{fffd}");
}

#[tokio::test]
async fn a_root_without_wordpress_has_nothing_but_its_files() {
    let site = Site::with(&["a.css"]);
    let cases = [
        ("/a.css", "file a.css"),
        ("/", "404 not_found"),
        ("/b", "404 not_found"),
    ];
    check(&site, &cases).await;
}

#[test]
fn a_root_that_is_not_there_is_told_at_the_start() {
    let site = Site::with(&[]);
    let mut config = site.config();
    config.extra_roots = vec![site.path("none")];
    let error = StaticFiles::new(&config).unwrap_err();
    assert!(matches!(error, Error::Root { path, .. } if path == site.path("none")));
}

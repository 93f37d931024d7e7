//! Which paths of a site on PHP-FPM are files, which are scripts, and which are not there.

use std::{fs, os::unix::fs::symlink};

use crate::harness::{
    php_fpm::PhpFpm,
    sidecar::{Sidecar, Site},
};

/// A script that leaves a mark when it runs.
fn trap(fpm: &PhpFpm) -> String {
    let mark = fpm.path("written/ran");
    format!("<?php file_put_contents({mark:?}, 'x', FILE_APPEND); echo 'ran';")
}

async fn in_front_of(fpm: &PhpFpm) -> Sidecar {
    let site = Site::new("main", "localhost").backend(fpm.backend());
    Sidecar::builder().site(site).start().await
}

#[tokio::test]
async fn what_must_not_run_or_be_shown_is_not_there() {
    let fpm = PhpFpm::start().await;
    let trap = trap(&fpm);
    for name in [
        "wp-content/uploads/evil.php",
        "wp-content/uploads/2026/11/evil.PHP",
        "wp-content/uploads/evil.phtml",
        "wp-content/uploads/evil.php.jpg",
        ".hidden.php",
        ".git/config",
        ".env",
        "wp-config.php",
        "wp-config.php.bak",
    ] {
        fpm.file(name, &trap);
    }
    fs::write(fpm.path("outside.php"), &trap).unwrap();
    fs::write(fpm.path("outside.txt"), &trap).unwrap();
    symlink(fpm.path("outside.php"), fpm.root().join("link.php")).unwrap();
    symlink(fpm.path("outside.txt"), fpm.root().join("link.txt")).unwrap();
    symlink(fpm.path("written"), fpm.root().join("linked")).unwrap();
    fs::write(fpm.path("written/inside.txt"), &trap).unwrap();
    let sidecar = in_front_of(&fpm).await;
    for target in [
        "/wp-content/uploads/evil.php",
        "/wp-content/uploads/evil.php/x",
        "/wp-content/uploads/evil.php?x=1",
        "/wp-content//uploads/./evil.php",
        "/wp-content/uploads/%65vil.php",
        "/WP-content/../wp-content/uploads/evil.php",
        "/wp-content/uploads/2026/11/evil.PHP",
        "/wp-content/uploads/evil.phtml",
        "/wp-content/uploads/evil.php.jpg",
        "/.hidden.php",
        "/%2ehidden.php",
        "/.git/config",
        "/.env",
        "/wp-config.php",
        "/wp-config.php.bak",
        "/link.php",
        "/link.txt",
        "/linked/inside.txt",
    ] {
        let answer = sidecar.get(target, "").await;
        assert_eq!(answer.head.status, 404, "{target}");
        assert!(!answer.text().contains("file_put_contents"), "{target}");
    }
    for target in ["/../outside.txt", "/%2e%2e/outside.txt", "/a%00.php"] {
        let answer = sidecar.get(target, "").await;
        assert_eq!(answer.head.status, 400, "{target}");
    }
    assert!(!fpm.path("written/ran").exists(), "nothing of it ran");
}

#[tokio::test]
async fn files_are_served_scripts_are_run_and_all_else_is_the_front_page() {
    let fpm = PhpFpm::start().await;
    fpm.file(
        "index.php",
        "<?php echo 'front ' . $_SERVER['REQUEST_URI'] . ' ' . $_SERVER['SCRIPT_NAME'];",
    );
    fpm.file("wp-admin/index.php", "<?php echo 'admin';");
    fpm.file("style.css", "body {}");
    let sidecar = in_front_of(&fpm).await;
    for (target, text) in [
        ("/", "front / /index.php"),
        (
            "/2026/11/hello/?p=1",
            "front /2026/11/hello/?p=1 /index.php",
        ),
        ("/missing.php", "front /missing.php /index.php"),
        ("/missing/x.php/y", "front /missing/x.php/y /index.php"),
        ("/wp-admin/", "admin"),
        ("/style.css", "body {}"),
    ] {
        let answer = sidecar.get(target, "").await;
        assert_eq!((answer.head.status, answer.text()), (200, text), "{target}");
    }
    let answer = sidecar.get("/wp-admin?x=1", "").await;
    assert_eq!(answer.head.status, 301);
    assert_eq!(answer.head.field("location"), Some("/wp-admin/?x=1"));
    let answer = sidecar.get("/style.css", "").await;
    assert!(
        answer
            .head
            .field("content-type")
            .unwrap()
            .starts_with("text/css")
    );
    let host = "Host: stranger.example\r\n";
    let request = format!("GET / HTTP/1.1\r\n{host}\r\n");
    let answer = sidecar.http1().await.exchange(request).await;
    assert_eq!(answer.head.status, 421, "there is no default site");
}

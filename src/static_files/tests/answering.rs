//! Files as answers.

use std::fs;

use http::{Method, Request, StatusCode, request::Parts};
use http_body_util::BodyExt;

use super::{Found, Site};
use crate::exchange::{BodyError, Response};
use crate::static_files::{File, StaticFiles, add_slash};

fn head(method: &str, target: &str, lines: &[(&str, &str)]) -> Parts {
    let mut builder = Request::builder().method(method).uri(target);
    for (name, value) in lines {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap().into_parts().0
}

async fn open(files: &StaticFiles, path: &str) -> File {
    match files.find(path.as_bytes()).await {
        Ok(Found::File(file)) => file,
        found => panic!("{path}: {found:?}"),
    }
}

async fn ask(files: &StaticFiles, method: &str, lines: &[(&str, &str)]) -> Response {
    let file = open(files, "/a.css").await;
    files
        .answer(&head(method, "/a.css", lines), file)
        .await
        .unwrap()
}

async fn text(response: Response) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn site(text: &str) -> Site {
    let site = Site::with(&[]);
    site.write("root/a.css", text);
    site
}

fn line<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_file_comes_with_its_type_length_and_validators() {
    let site = site("0123456789");
    let response = ask(&site.files(), "GET", &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(line(&response, "content-type"), "text/css; charset=utf-8");
    assert_eq!(line(&response, "content-length"), "10");
    assert_eq!(line(&response, "accept-ranges"), "bytes");
    assert_eq!(line(&response, "x-content-type-options"), "nosniff");
    assert!(line(&response, "etag").ends_with("-a\""));
    assert!(httpdate::parse_http_date(line(&response, "last-modified")).is_ok());
    assert_eq!(text(response).await, "0123456789");
}

#[tokio::test]
async fn head_has_the_same_head_and_no_body_and_no_ranges() {
    let site = site("0123456789");
    let files = site.files();
    let response = ask(&files, "HEAD", &[("range", "bytes=0-1")]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers(), ask(&files, "GET", &[]).await.headers());
    assert_eq!(text(response).await, "");
}

#[tokio::test]
async fn other_methods_are_told_which_are_allowed() {
    let site = site("0123456789");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let response = ask(&site.files(), method, &[]).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(line(&response, "allow"), "GET, HEAD");
        assert_eq!(text(response).await, "");
    }
}

#[tokio::test]
async fn a_client_that_has_the_file_is_told_so_until_it_changes() {
    let site = site("0123456789");
    let files = site.files();
    let first = ask(&files, "GET", &[]).await;
    let etag = line(&first, "etag").to_owned();
    let modified = line(&first, "last-modified").to_owned();
    for lines in [
        [("if-none-match", &*etag)],
        [("if-modified-since", &*modified)],
    ] {
        for method in ["GET", "HEAD"] {
            let response = ask(&files, method, &lines).await;
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
            assert_eq!(line(&response, "etag"), etag);
            assert_eq!(line(&response, "last-modified"), modified);
            assert_eq!(line(&response, "content-length"), "");
            assert_eq!(text(response).await, "");
        }
    }
    let response = ask(&files, "GET", &[("if-match", "\"other\"")]).await;
    assert_eq!(response.status(), StatusCode::PRECONDITION_FAILED);
    assert_eq!(text(response).await, "");
    site.write("root/a.css", "changed");
    let response = ask(&files, "GET", &[("if-none-match", &etag)]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(text(response).await, "changed");
}

#[tokio::test]
async fn a_part_is_sent_to_a_client_that_has_the_rest_of_the_same_file() {
    let site = site("0123456789");
    let files = site.files();
    let etag = line(&ask(&files, "GET", &[]).await, "etag").to_owned();
    let range = ("range", "bytes=2-5");
    for lines in [&[range][..], &[range, ("if-range", &etag)]] {
        let response = ask(&files, "GET", lines).await;
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(line(&response, "content-range"), "bytes 2-5/10");
        assert_eq!(line(&response, "content-length"), "4");
        assert_eq!(line(&response, "content-type"), "text/css; charset=utf-8");
        assert_eq!(text(response).await, "2345");
    }
    for lines in [
        &[range, ("if-range", "\"other\"")][..],
        &[("range", "bytes=0-1,3-4")],
    ] {
        let response = ask(&files, "GET", lines).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(text(response).await, "0123456789");
    }
    let response = ask(&files, "GET", &[("range", "bytes=10-")]).await;
    assert_eq!(response.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(line(&response, "content-range"), "bytes */10");
    assert_eq!(text(response).await, "");
}

#[tokio::test]
async fn a_file_of_many_blocks_arrives_whole_and_in_parts() {
    let content: String = (0..100_000).map(|n| format!("{n:07}\n")).collect();
    let site = site(&content);
    let files = site.files();
    assert!(text(ask(&files, "GET", &[]).await).await == content);
    for (range, part) in [
        ("bytes=1-700000", &content[1..=700_000]),
        ("bytes=-400000", &content[400_000..]),
        ("bytes=131071-131072", &content[131_071..=131_072]),
    ] {
        let response = ask(&files, "GET", &[("range", range)]).await;
        assert!(text(response).await == part, "{range}");
    }
    site.write("root/a.css", "");
    let response = ask(&files, "GET", &[]).await;
    assert_eq!(line(&response, "content-length"), "0");
    assert_eq!(text(response).await, "");
}

#[tokio::test]
async fn what_was_opened_is_what_is_sent() {
    let site = site("first");
    let files = site.files();
    let file = open(&files, "/a.css").await;
    site.write("secret", "secret");
    fs::remove_file(site.path("root/a.css")).unwrap();
    site.link("root/a.css", site.path("secret"));
    let response = files
        .answer(&head("GET", "/a.css", &[]), file)
        .await
        .unwrap();
    assert_eq!(text(response).await, "first");
}

#[tokio::test]
async fn a_file_that_shrinks_on_the_way_never_ends_cleanly() {
    let site = site(&"x".repeat(1 << 20));
    let response = ask(&site.files(), "GET", &[]).await;
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    fs::OpenOptions::new()
        .write(true)
        .open(site.path("root/a.css"))
        .and_then(|file| file.set_len(200_000))
        .unwrap();
    let end: Result<_, BodyError> = body.collect().await;
    assert!(end.is_err());
}

#[test]
fn a_directory_redirect_keeps_path_and_query_and_stays_on_this_host() {
    for (target, location) in [
        ("/wp-admin", "/wp-admin/"),
        (
            "/blog/wp-admin?a=b%20c&d=%2F",
            "/blog/wp-admin/?a=b%20c&d=%2F",
        ),
        ("/w%70-admin?", "/w%70-admin/?"),
        ("//evil.example/wp-admin", "/evil.example/wp-admin/"),
        ("/\\evil.example", "/evil.example/"),
        ("/evil.example:80", "/evil.example:80/"),
        ("/a\\b", "/a%5Cb/"),
    ] {
        let response = add_slash(&head("GET", target, &[]));
        assert_eq!(line(&response, "location"), location);
        assert_eq!(response.status(), StatusCode::MOVED_PERMANENTLY);
    }
    let response = add_slash(&head(Method::POST.as_str(), "/wp-admin", &[]));
    assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
}

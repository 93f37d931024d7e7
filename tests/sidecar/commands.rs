//! The commands that speak to a running sidecar, each by the built program.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::harness::{
    directory,
    origin::Origin,
    program::{Finished, Running, run},
    sidecar::{Sidecar, Site},
    until,
};

/// Runs `command` with the configuration of `sidecar`, and `input` to read.
async fn with_input(sidecar: &Sidecar, command: &[&str], input: &str) -> Finished {
    let file = sidecar.config_file();
    let arguments = [command, &["--config", file.to_str().unwrap()]].concat();
    Running::start(&arguments, input).finished().await
}

async fn asked(sidecar: &Sidecar, command: &[&str]) -> Finished {
    with_input(sidecar, command, "").await
}

/// A configuration in `directory` whose sockets nobody has bound.
fn without_sidecar(directory: &Path) -> String {
    let file = directory.join("sidewire.toml");
    let (admin, publish) = (directory.join("admin.sock"), directory.join("publish.sock"));
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:1\"\ntls = false\n\
         [admin]\nsocket = {admin:?}\n[publish]\nsocket = {publish:?}\n\
         [[site]]\nname = \"main\"\nhosts = [\"localhost\"]\n\
         [site.upstream]\naddress = \"http://127.0.0.1:1\"\n\
         [[site.publish_key]]\nsecret = \"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"\n"
    );
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

/// Asserts how a command failed, and that it told all of `words`.
fn failed(finished: &Finished, code: i32, words: &[&str]) {
    let told = &finished.stderr;
    assert_eq!(finished.code, Some(code), "{told}");
    for word in words {
        assert!(told.contains(word), "no {word:?} in:\n{told}");
    }
    assert_eq!(finished.stdout, "");
}

#[tokio::test]
async fn status_tells_a_person_and_a_program() {
    let blog = Site::new("blog", "blog.test");
    let shop = Site::new("shop", "shop.test");
    let sidecar = Sidecar::builder().site(blog).site(shop).start().await;
    let mut browser = sidecar.browser().await;
    browser.subscribe("site").await;
    let page = sidecar.upgrade("shop.test", "/realtime?channel=site&channel=post:1", "");
    let page = page.await.ok().unwrap();
    until("the stream of the shop", || async {
        (sidecar.metric("realtime_subscriptions").await == 3).then_some(())
    })
    .await;
    sidecar.publisher().publish("site", &json!(1)).await;

    let finished = asked(&sidecar, &["status", "--json"]).await;
    let status: Value = serde_json::from_str(&finished.stdout).unwrap();
    let totals = json!({ "connections": 2, "subscriptions": 3, "channels": 1, "publications": 1 });
    assert_eq!(status["totals"], totals);
    let site = |name: &str, connections: u64, subscriptions: u64, publications: u64| {
        json!({
            "name": name, "hosts": [format!("{name}.test")], "connections": connections, "users": 0,
            "subscriptions": subscriptions, "channels": subscriptions, "revocations": 0,
            "publications": publications,
        })
    };
    assert_eq!(
        status["sites"],
        json!([site("blog", 1, 1, 1), site("shop", 1, 2, 0)])
    );
    assert_eq!(status["certificates"][0]["names"], json!(["blog.test"]));
    assert!(status["certificates"][0]["days_left"].as_i64().unwrap() > 0);
    let address = format!("127.0.0.1:{}", sidecar.port);
    let listener = json!({ "kind": "https", "address": address });
    assert_eq!(status["listeners"][0], listener);
    assert_eq!(status["last_reload"], Value::Null);

    drop(page);
    until("the stream of the shop to be gone", || async {
        let status = sidecar.admin("GET", "/status").await.json();
        (status["sites"][1] == site("shop", 0, 0, 0)).then_some(())
    })
    .await;

    let finished = asked(&sidecar, &["status"]).await;
    assert_eq!(finished.code, Some(0));
    let told = finished.stdout;
    for line in [
        "last reload    none since the start",
        "https    127.0.0.1:",
        "\nblog   1            0      1  ",
        "\nshop   0            0      0  ",
        "\n(all)  1            0      1  ",
    ] {
        assert!(told.contains(line), "no {line:?} in:\n{told}");
    }
}

#[tokio::test]
async fn a_socket_that_nobody_serves_is_named_with_its_key_and_what_to_do() {
    let directory = directory();
    let file = without_sidecar(directory.path());
    for (command, socket, key) in [
        (&["status"][..], "admin.sock", "admin.socket"),
        (&["reload"], "admin.sock", "admin.socket"),
        (&["channels"], "publish.sock", "publish.socket"),
        (&["publish", "site", "1"], "publish.sock", "publish.socket"),
    ] {
        let finished = run(&[command, &["--config", &file]].concat()).await;
        let words = [socket, key, &file, "systemctl status sidewire"];
        failed(&finished, 1, &words);
    }
    let bound = std::os::unix::net::UnixListener::bind(directory.path().join("admin.sock"));
    drop(bound.unwrap());
    let finished = run(&["status", "--config", &file]).await;
    failed(
        &finished,
        1,
        &["nobody listens", "systemctl start sidewire"],
    );
    let finished = run(&["tail", "site", "--config", &file]).await;
    failed(
        &finished,
        1,
        &["ws://localhost:1/realtime", "cannot connect"],
    );
}

#[tokio::test]
async fn a_configuration_without_the_socket_is_told_how_to_have_one() {
    let directory = directory();
    let file = without_sidecar(directory.path());
    let text = fs::read_to_string(&file).unwrap();
    let text = text
        .replace("[admin]", "[nothing]")
        .replace("[publish]", "[none]");
    fs::write(&file, text).unwrap();
    for (command, table) in [
        (&["status"][..], "[admin] socket = "),
        (&["publish", "site", "1"], "[publish] socket = "),
    ] {
        let finished = run(&[command, &["--config", &file]].concat()).await;
        failed(&finished, 78, &[table, &file, "unknown key"]);
    }
    let finished = run(&["status", "--config", "/nowhere.toml"]).await;
    failed(&finished, 78, &["/nowhere.toml", "cannot be read"]);
}

#[tokio::test]
async fn reload_tells_what_is_in_force_and_what_waits_for_a_restart() {
    let sidecar = Sidecar::start().await;
    let finished = asked(&sidecar, &["reload"]).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stdout.contains("nothing"), "{}", finished.stdout);

    let text = sidecar.config();
    let text = text.replace("info,sidewire::front=debug", "warn");
    sidecar.write_config(&format!("{text}[front]\nheaders_max = 50\n"));
    let finished = asked(&sidecar, &["reload"]).await;
    assert_eq!(
        finished.stdout,
        format!(
            "{} was read again; in force now:\n  log.filter\n\
             needs a restart (`systemctl restart sidewire`):\n  front.headers_max\n",
            sidecar.config_file().display()
        )
    );
    let told = asked(&sidecar, &["status"]).await.stdout;
    assert!(
        told.contains("until a restart: front.headers_max"),
        "{told}"
    );
}

#[tokio::test]
async fn reload_tells_every_fault_and_that_nothing_changed() {
    let sidecar = Sidecar::start().await;
    let faulty = sidecar.config() + "[front]\nheaders_max = 5\n[stop]\ndrain = \"1s\"\n";
    sidecar.write_config(&faulty);
    let finished = asked(&sidecar, &["reload"]).await;
    let words = [
        "2 faults",
        "front.headers_max = 5",
        "stop.drain = \"1s\"",
        "the configuration before stays in force",
    ];
    failed(&finished, 78, &words);
}

#[tokio::test]
async fn reload_names_the_file_that_the_running_sidecar_reads() {
    let sidecar = Sidecar::start().await;
    // Another file that names the same socket.
    let elsewhere = directory();
    let other = elsewhere.path().join("other.toml");
    fs::write(&other, sidecar.config()).unwrap();
    let command = ["reload", "--config", other.to_str().unwrap()];
    let read = sidecar.config_file();
    let read = read.to_str().unwrap();
    let finished = run(&command).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(finished.stdout.starts_with(read), "{}", finished.stdout);
    sidecar.write_config("nonsense");
    let finished = run(&command).await;
    failed(&finished, 78, &[read, "not TOML"]);
    assert!(
        !finished.stderr.contains("other.toml"),
        "{}",
        finished.stderr
    );
}

#[tokio::test]
async fn publish_tells_where_the_channel_stands() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.browser().await;
    browser.subscribe("post:26").await;
    let data = "{\"price\":9.90}";
    let options = ["--key", "26:price", "--version", "3", "--tags", "by=me"];
    let finished = asked(
        &sidecar,
        &[&["publish", "post:26", data][..], &options].concat(),
    )
    .await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let told = &finished.stdout;
    assert!(told.starts_with("post:26: offset 1, epoch "), "{told}");
    let publication = browser.publication().await;
    assert_eq!(publication["data"], json!({ "price": 9.90 }));
    assert_eq!(
        publication["tags"],
        json!({ "by": "me", "key": "26:price" })
    );

    let again = [&["publish", "post:26", data][..], &options].concat();
    let finished = asked(&sidecar, &again).await;
    let told = &finished.stdout;
    assert!(told.starts_with("post:26: left out, "), "{told}");

    let finished = with_input(&sidecar, &["publish", "post:26", "-"], "[1,\n 2]\n").await;
    assert!(finished.stdout.contains("offset 2"), "{}", finished.stderr);
    assert_eq!(browser.publication().await["data"], json!([1, 2]));
    let finished = asked(&sidecar, &["publish", "post:26", "-5"]).await;
    assert!(finished.stdout.contains("offset 3"), "{}", finished.stderr);
}

#[tokio::test]
async fn data_that_is_no_json_is_shown_with_the_place_and_how_to_quote_it() {
    let finished = run(&["publish", "site", "it's on"]).await;
    let words = [
        "line 1 column 1",
        "  it's on\n  ^",
        r#"sidewire publish site '"it'\''s on"'"#,
    ];
    failed(&finished, 64, &words);
    let finished = run(&["publish", "site", "{\"a\": 1,}"]).await;
    failed(&finished, 64, &["column 9", "  {\"a\": 1,}\n          ^"]);
    let finished = run(&["publish", "site", "1", "--tags", "nothing"]).await;
    failed(&finished, 64, &["KEY=VALUE"]);
}

#[tokio::test]
async fn a_refused_publish_tells_the_code_and_the_remedy() {
    let sidecar = Sidecar::start().await;
    let finished = asked(&sidecar, &["publish", "nothing:1", "1"]).await;
    failed(&finished, 1, &["code 102", "[[site.namespace]]"]);

    let text = sidecar.config();
    let (before, _) = text.split_once("[[site.publish_key]]").unwrap();
    let other = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    sidecar.write_config(&format!(
        "{before}[[site.publish_key]]\nsecret = \"{other}\"\n"
    ));
    let finished = asked(&sidecar, &["publish", "site", "1"]).await;
    failed(&finished, 1, &["code 1003", "sidewire reload"]);
    assert_eq!(asked(&sidecar, &["reload"]).await.code, Some(0));
    let finished = asked(&sidecar, &["publish", "site", "1"]).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);

    sidecar.write_config(before);
    let finished = asked(&sidecar, &["publish", "site", "1"]).await;
    failed(&finished, 78, &["[[site.publish_key]]", "root"]);
}

#[tokio::test]
async fn of_several_sites_one_must_be_named() {
    let blog = Site::new("blog", "blog.test");
    let shop = Site::new("shop", "shop.test");
    let sidecar = Sidecar::builder().site(blog).site(shop).start().await;
    for command in [
        &["publish", "site", "1"][..],
        &["tail", "site"],
        &["channels"],
    ] {
        let finished = asked(&sidecar, command).await;
        failed(&finished, 64, &["--site NAME", "blog, shop"]);
        let named = [command, &["--site", "shoop"]].concat();
        failed(
            &asked(&sidecar, &named).await,
            64,
            &["\"shoop\"", "blog, shop"],
        );
    }
    let finished = asked(&sidecar, &["publish", "site", "1", "--site", "shop"]).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
}

/// A publish socket of `directory` that answers everything with `body`.
fn answering(directory: &Path, status: &str, body: &Value) -> Origin {
    let answer = format!("{body}");
    let head = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        answer.len()
    );
    let whole: std::sync::Arc<str> = (head + &answer).into();
    Origin::unix(&directory.join("publish.sock"), move |mut connection| {
        let whole = std::sync::Arc::clone(&whole);
        async move {
            connection.head().await;
            connection.body_until("}").await;
            connection.say(whole.as_bytes()).await;
        }
    })
}

#[tokio::test]
async fn channels_are_listed_by_how_many_follow_them() {
    let directory = directory();
    let file = without_sidecar(directory.path());
    let channels = json!({ "post:1": { "num_clients": 2 }, "post:26": { "num_clients": 3 } });
    let body = json!({ "result": { "channels": channels } });
    let _socket = answering(directory.path(), "200 OK", &body);
    let finished = run(&["channels", "post:*", "--config", &file]).await;
    assert_eq!(
        finished.stdout, "CHANNEL  CLIENTS\npost:26  3\npost:1   2\n",
        "{}",
        finished.stderr
    );
}

#[tokio::test]
async fn channels_of_a_running_sidecar_are_those_of_the_site_that_fit_the_pattern() {
    let blog = Site::new("blog", "blog.test");
    let shop = Site::new("shop", "shop.test");
    let sidecar = Sidecar::builder().site(blog).site(shop).start().await;
    let mut browsers = Vec::new();
    for channels in [&["site", "post:26"][..], &["post:26", "post:1"]] {
        let mut browser = sidecar.browser().await;
        for channel in channels {
            browser.subscribe(channel).await;
        }
        browsers.push(browser);
    }
    for (command, told) in [
        (
            &["post:*"][..],
            "CHANNEL  CLIENTS\npost:26  2\npost:1   1\n",
        ),
        (&["site"], "CHANNEL  CLIENTS\nsite     1\n"),
    ] {
        let command = [&["channels", "--site", "blog"], command].concat();
        let finished = asked(&sidecar, &command).await;
        assert_eq!(finished.stdout, told, "{}", finished.stderr);
    }
    let finished = asked(&sidecar, &["channels", "--site", "shop"]).await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(!finished.stdout.contains("post"), "{}", finished.stdout);
}

#[tokio::test]
async fn a_sidecar_that_is_older_than_the_command_is_named_as_such() {
    let directory = directory();
    let file = without_sidecar(directory.path());
    let body = json!({ "error": { "code": 104, "message": "unknown method" } });
    let _socket = answering(directory.path(), "404 Not Found", &body);
    let finished = run(&["channels", "--config", &file]).await;
    failed(&finished, 1, &["code 104", "older", "systemctl restart"]);
}

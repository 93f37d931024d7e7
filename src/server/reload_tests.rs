//! What a reload applies and what it names, by two texts of a configuration.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::*;

const BLOG: &str = "[[site]]\nname = \"blog\"\nhosts = [\"blog.test\"]\n\
                    [site.upstream]\naddress = \"http://127.0.0.1:1\"\n";
const LISTENER: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\ntls = false\n";

fn loaded(text: &str) -> Loaded {
    Loaded {
        config: config::parse(text).unwrap(),
        written: Written::read(text),
    }
}

fn compared(started: &str, new: &str) -> Reloaded {
    let started = loaded(started);
    compare(&started, &started, &loaded(new))
}

fn key(n: u8) -> String {
    let secret = STANDARD.encode([n; 32]);
    format!("[[site.publish_key]]\nsecret = \"whsec_{secret}\"\n")
}

#[test]
fn what_is_applied_and_what_needs_a_restart_is_told_apart() {
    let old = format!("{LISTENER}{BLOG}{}", key(1));
    let new = format!(
        "[log]\nfilter = \"debug\"\njson = true\n{}{}{}{}",
        LISTENER.replace("\"127.0.0.1:0\"", "\"127.0.0.1:1\""),
        BLOG.replace("blog.test", "www.blog.test"),
        key(1),
        key(2)
    );
    let Reloaded {
        changed,
        needs_restart,
    } = compared(&old, &new);
    assert_eq!(changed, ["log.filter", "site[blog].publish_key[1].secret"]);
    assert_eq!(
        needs_restart,
        ["listener[0].address", "log.json", "site[blog].hosts"]
    );
}

#[test]
fn a_site_that_is_new_or_gone_is_named_once() {
    let shop = BLOG.replace("blog", "shop");
    let (one, both) = (
        format!("{LISTENER}{BLOG}"),
        format!("{LISTENER}{BLOG}{shop}"),
    );
    for (old, new) in [(&one, &both), (&both, &one)] {
        let compared = compared(old, new);
        assert_eq!(compared.needs_restart, ["site[shop]"]);
        assert_eq!(compared.changed, [""; 0]);
    }
}

#[test]
fn a_secret_whose_file_has_other_words_in_it_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let write = |n: u8| {
        let secret = format!("whsec_{}", STANDARD.encode([n; 32]));
        std::fs::write(file.path(), secret).unwrap();
    };
    let table = |kind| format!("[[site.{kind}]]\nsecret_file = {:?}\n", file.path());
    for kind in ["publish_key", "token_key"] {
        let text = format!("{LISTENER}{BLOG}{}", table(kind));
        write(1);
        let old = loaded(&text);
        write(2);
        let new = loaded(&text);
        let key = format!("site[blog].{kind}");
        assert_eq!(Vec::from_iter(differing(&old, &new)), [key.as_str()]);
        assert!(is_applied(&key, |_| true));
    }
}

#[test]
fn a_default_that_is_written_out_changes_nothing() {
    let old = format!("{LISTENER}{BLOG}");
    let new = format!("[front]\nheaders_max = 100\n{LISTENER}{BLOG}");
    assert_eq!(compared(&old, &new), Reloaded::default());
}

#[test]
fn sites_keep_their_places_and_what_no_reload_reaches() {
    let shop = BLOG.replace("blog", "shop");
    let started = loaded(&format!("{LISTENER}{BLOG}{}{shop}", key(1)));
    let changed = BLOG.replace("blog.test", "www.blog.test");
    let new = loaded(&format!("{LISTENER}{shop}{changed}{}", key(2)));
    let mut sites = started.config.sites;
    for site in &mut sites {
        take_over(site, &new.config);
    }
    assert_eq!(sites[0].name, "blog");
    assert_eq!(sites[0].hosts, ["blog.test"]);
    assert_eq!(sites[0].publish_keys, new.config.sites[1].publish_keys);
    assert_eq!(sites[1].name, "shop");
}

#[test]
fn a_site_that_the_file_names_no_more_keeps_the_keys_that_it_had_last() {
    let keys = |n| loaded(&format!("{LISTENER}{BLOG}{}", key(n))).config;
    let gone = loaded(&format!("{LISTENER}{}", BLOG.replace("blog", "shop"))).config;
    let mut site = keys(1).sites.remove(0);
    for new in [keys(2), gone.clone(), gone] {
        take_over(&mut site, &new);
    }
    assert_eq!(site.publish_keys, keys(2).sites[0].publish_keys);
}

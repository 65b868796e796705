//! Whatever bytes a client has for a key, the server must work on exactly those. Clients, libraries and proxies rewrite
//! paths, so the form of a key is chosen such that there is nothing to rewrite.

use http::Uri;
use kvd_types::{Command, Key};
use kvd_wire::rest::path::{KeyForm, decode_base64url, form_for};
use proptest::prelude::*;

use crate::strategies::keys;
use crate::support::run;

proptest! {
    #[test]
    fn every_key_arrives_by_the_form_its_client_chooses(key in keys()) {
        let command = match form_for(&key) {
            KeyForm::Path(path) | KeyForm::Base64(path) => {
                prop_assert!(path.len() < 65_000, "leaves room for the rest of a request's head");
                run(&format!("GET {path}"), &[]).0
            }
            KeyForm::Body => {
                prop_assert!(key.len() > 47 * 1024);
                Command::Get { key: key.clone() }
            }
        };
        prop_assert_eq!(command, Command::Get { key });
    }

    #[test]
    fn a_path_form_has_nothing_that_a_url_library_touches(key in keys()) {
        if let KeyForm::Path(path) = form_for(&key) {
            let raw = path.strip_prefix("/v1/keys/").unwrap();
            prop_assert!(raw.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/%".contains(&byte)), "{raw}");
            prop_assert!(raw.split('/').all(|segment| !["", ".", ".."].contains(&segment)), "{raw}");
            prop_assert!(!key.as_bytes().iter().any(u8::is_ascii_control));
        }
    }

    #[test]
    fn a_key_has_one_base64url_spelling(text in "[-_A-Za-z0-9]{0,12}") {
        if let Ok(key) = decode_base64url(&text) {
            let form = form_for(&key);
            // A short key of plain text is sent as a path; the others come back as they were spelled.
            if let KeyForm::Base64(path) = form {
                prop_assert_eq!(path, format!("/v1/k64/{text}"));
            }
        }
    }
}

#[test]
fn the_form_of_a_key_is_the_one_the_contract_says() {
    let table: &[(&[u8], Option<&str>)] = &[
        (b"a", Some("/v1/keys/a")),
        (b"dir/file.txt", Some("/v1/keys/dir/file.txt")),
        (b"a b+c%d?e#f", Some("/v1/keys/a%20b%2Bc%25d%3Fe%23f")),
        (b"a,b=c:d@e", Some("/v1/keys/a%2Cb%3Dc%3Ad%40e")),
        ("\u{e4}".as_bytes(), Some("/v1/keys/%C3%A4")),
        (b"%2e%2e", Some("/v1/keys/%252e%252e")),
        (b"..a/b..", Some("/v1/keys/..a/b..")),
        (b"", None),
        (b".", None),
        (b"..", None),
        (b"a/../b", None),
        (b"a/.", None),
        (b"/a", None),
        (b"a/", None),
        (b"a//b", None),
        (b"a\nb", None),
        (b"a\x7f", None),
        (b"\xff", None),
        (&[b'k'; 1024], Some("")),
        (&[b'k'; 1025], None),
    ];
    for (bytes, path) in table {
        match (form_for(&Key::new(*bytes).unwrap()), path) {
            (KeyForm::Path(_), Some("")) | (KeyForm::Base64(_), None) => {}
            (KeyForm::Path(form), Some(path)) => assert_eq!(form, *path),
            (form, _) => panic!("{} is {form:?}", bytes.escape_ascii()),
        }
    }
    assert_eq!(form_for(&Key::empty()), KeyForm::Base64("/v1/k64/-".into()));
    assert!(matches!(form_for(&Key::new(vec![0xff; 47 * 1024]).unwrap()), KeyForm::Base64(_)));
    assert_eq!(form_for(&Key::new(vec![0xff; 47 * 1024 + 1]).unwrap()), KeyForm::Body);
}

#[test]
fn the_longest_key_in_a_url_leaves_room_for_the_longest_host() {
    let KeyForm::Base64(path) = form_for(&Key::new(vec![0xff; 47 * 1024]).unwrap()) else { panic!() };
    let proxied = format!("http://{}:65535{path}", "h".repeat(253));
    assert_eq!(proxied.parse::<Uri>().unwrap().path(), path);
}

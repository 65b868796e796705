//! What one kvcli prints another reads: everything comes back, values of any bytes, types and times to live included.

use std::process::{Command, Stdio};

use kvd_testkit::{Server, binary};

/// Runs a shell line with `kvcli` in its path; returns its exit code and output.
fn shell(server: &Server, line: &str) -> (i32, String) {
    let kvcli = binary("kvcli");
    let mut command = Command::new("sh");
    command.arg("-c").arg(line.replace("kvcli", kvcli.to_str().unwrap()));
    let output = command.env("KVD_URL", server.url()).env_remove("KVD_TX").stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.code().unwrap(), text)
}

#[test]
fn what_get_prints_another_store_takes() {
    for format in ["ndjson", "tsv"] {
        let (from, to) = (Server::start(), Server::start());
        let sets = "kvcli set --content-type text/plain 'a=tab\\there' && printf 'a\\377\\0\\n' | kvcli set bin - &&
            kvcli set temp=x --ttl 1h && kvcli set -k '' --value empty-key && kvcli set none=";
        assert_eq!(shell(&from, sets), (0, String::new()));
        let copy = format!(
            "kvcli get a,bin,temp,missing,none -k '' -o {format} 2>/dev/null |
             kvcli --url {} set --from - --format {format}",
            to.url()
        );
        assert_eq!(shell(&from, &copy), (0, String::new()), "{format}");
        let all = "kvcli get a,bin,temp,missing,none -k '' -o tsv";
        assert_eq!(shell(&to, all), shell(&from, all), "{format}");
        if format == "ndjson" {
            assert!(shell(&to, "kvcli head a").1.contains("content_type text/plain"));
            assert_ne!(shell(&to, "kvcli ttl temp").1, "none\n");
        }
    }
}

#[test]
fn a_list_of_keys_feeds_other_commands() {
    let server = Server::start();
    assert_eq!(shell(&server, "kvcli set -f 'a b=1' -f 'c=2'").0, 0);
    let (code, text) = shell(&server, "kvcli list -0 --sort | kvcli get --keys-from - -0 -o tsv");
    assert_eq!((code, text.as_str()), (0, "a b\t1\nc\t2\n"));
    let (code, text) = shell(&server, "printf 'incr n 2\\nappend l -- -x\\nget n,l\\n' | kvcli txn");
    assert_eq!((code, text.as_str()), (0, "incr\tn\t2\nappend\tl\t2\nget\tn\t2\nget\tl\t-x\n"));
    let (code, text) = shell(&server, "printf 'set a=1 --if-absent\\nset a=2 --if-absent\\n' | kvcli txn");
    assert!(code == 5 && text.contains("`a`: it was set by this transaction"), "{code}: {text}");
    let (code, text) = shell(&server, "kvcli incr n -- -5; kvcli incr n -5");
    assert_eq!((code, text.as_str()), (0, "-3\n-8\n"));
}

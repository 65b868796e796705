//! A tour of the client against the server at `KVD_URL`: `cargo run -p kvd-client --example tour`. Works on keys that begin
//! with `tour/` and removes them in the end.
#![allow(clippy::print_stdout, reason = "a program to look at")]

use anyhow::Context as _;
use kvd_client::{Client, Condition, Delete, Key, ListOptions, Set};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("KVD_URL").unwrap_or_else(|_| "http://127.0.0.1:7480".to_owned());
    let client = Client::new(&url)?;
    client.ping().await?;

    // Keys and values are bytes.
    client.set("tour/greeting", "hello").await?;
    client.set(b"tour/\xff\x00", vec![0, 1, 2]).await?;
    let greeting = client.get("tour/greeting").await?.context("it was just set")?;
    println!("tour/greeting is {:?}, version {}", greeting.bytes, greeting.meta.etag);

    // Several keys at once: all or none, and all of one revision.
    let sets = [("tour/a", "1"), ("tour/b", "2")].map(|(key, value)| Ok(Set::new(Key::new(key.as_bytes())?, value)));
    let answer = client.set_many(sets.into_iter().collect::<Result<_, kvd_client::KeyTooLong>>()?).await?;
    println!("one commit, revision {}, made {} new keys", answer.revision, answer.created);
    let answer = client.get_many(&["tour/a", "tour/b", "tour/c"]).await?;
    for item in &answer.items {
        println!("{:?}: {:?}", item.key, item.found.as_ref().map(|found| &found.value));
    }

    // Only if nobody else has changed it.
    let stale = Condition::AnyOf(vec![greeting.meta.etag]);
    client.set("tour/greeting", "hello from somebody else").await?;
    let set = Set { condition: stale, ..Set::new(Key::new(b"tour/greeting".as_slice())?, "too late") };
    let error = client.set_with(set).await.err().context("the condition can't hold")?;
    println!("refused with {}: {error}", error.code().unwrap_or("no code"));

    // All keys with a prefix, page by page; then remove them together.
    let mut pages = client.pages(ListOptions { prefix: b"tour/".to_vec(), ..ListOptions::default() });
    let mut deletes = Vec::new();
    while let Some(page) = pages.next_page().await? {
        deletes.extend(page.items.into_iter().map(|item| Delete::new(item.key)));
    }
    println!("{} keys begin with tour/", deletes.len());
    let answer = client.delete_many(deletes, false).await?;
    println!("deleted {}", answer.deleted);
    println!("the server has counted {} sets", client.stats().await?.ops.set);
    Ok(())
}

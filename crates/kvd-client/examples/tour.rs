//! A tour of the client against the server at `KVD_URL`: `cargo run -p kvd-client --example tour`. Works on keys that begin
//! with `tour/` and removes them in the end.
#![allow(clippy::print_stdout, reason = "a program to look at")]

use std::time::Duration;

use anyhow::Context as _;
use kvd_client::{Client, Condition, Delete, Error, Key, ListOptions, Set, Txn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("KVD_URL").unwrap_or_else(|_| "http://127.0.0.1:7480".to_owned());
    let client = Client::new(&url)?;
    client.ping().await?;

    // Keys and values are bytes.
    client.set("tour/greeting", "hello").await?;
    client.set(b"tour/\xff\x00", vec![0, 1, 2]).await?;
    let greeting = client.get("tour/greeting").await?.context("it was just set")?;
    let version = greeting.meta.etag.context("outside a transaction a version has a tag")?;
    println!("tour/greeting is {:?}, version {version}", greeting.bytes);

    // Several keys at once: all or none, and all of one revision.
    let sets = [("tour/a", "1"), ("tour/b", "2")].map(|(key, value)| Ok(Set::new(Key::new(key.as_bytes())?, value)));
    let answer = client.set_many(sets.into_iter().collect::<Result<_, kvd_client::KeyTooLong>>()?).await?;
    println!("one commit, revision {}, made {} new keys", answer.revision, answer.created);
    let answer = client.get_many(&["tour/a", "tour/b", "tour/c"]).await?;
    for item in &answer.items {
        println!("{:?}: {:?}", item.key, item.found.as_ref().map(|found| &found.value));
    }

    // Only if nobody else has changed it.
    let stale = Condition::AnyOf(vec![version]);
    client.set("tour/greeting", "hello from somebody else").await?;
    let set = Set { condition: stale, ..Set::new(Key::new(b"tour/greeting".as_slice())?, "too late") };
    let error = client.set_with(set).await.err().context("the condition can't hold")?;
    println!("refused with {}: {error}", error.code().unwrap_or("no code"));

    // Counters, and values that go by themselves.
    println!("visit {}", client.increment("tour/visits", 1).await?.value);
    client.expire("tour/visits", Duration::from_secs(60)).await?;

    // Several changes that belong together, in one request.
    let txn = Txn::new().check("tour/a", Condition::Value("1".into())).increment("tour/a", -1).increment("tour/b", 1);
    println!("moved one, revision {}", client.transaction(&txn).await?.revision);

    // Reads and writes that depend on one another. Runs again when somebody else was faster.
    let total = client
        .update(|tx| async move {
            let mut total = 0;
            for key in ["tour/a", "tour/b"] {
                let value = tx.get(key).await?.map_or(0, |value| value.bytes.len());
                total += value;
            }
            tx.set("tour/digits", total.to_string()).await?;
            Ok::<_, Error>(total)
        })
        .await?;
    println!("both have {total} digits");

    // All keys with a prefix, page by page; then remove them together.
    let mut pages = client.pages(ListOptions::of_prefix("tour/"));
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

//! Connections to a bucket that are cut at counted bytes: what was sent is not sent again but for a few parts, what was
//! read is not read again, and a lost word of success is not taken for a failure.

use std::time::Duration;

use backup::BackupError;
use backup::catalogue::{LATEST, Which};
use backup::check;
use backup::place::{Place, Version};
use servers::proxy::Way;
use servers::{Proxy, S3};

use super::bed::{Bed, on_ring, wait};
use super::in_bucket;
use super::people::{pair, publish};

/// A part of an object.
const PART: u64 = 8 << 20;
/// Parts on their way at once, which a cut costs at most, and what stands around them.
const AGAIN_MAX: u64 = 3 * PART + (64 << 10);
/// Bytes that a cut takes with it on their way to us.
const ON_THE_WAY_MAX: u64 = PART;
/// Large ones: 16 MB.
const MESSAGES: u64 = 400;

/// Bytes that nobody can compress.
pub fn content(bytes: u64) -> Vec<u8> {
    let mut content = vec![0; bytes as usize];
    getrandom::fill(&mut content).unwrap();
    content
}

/// Writes an object as backups do.
pub async fn put(place: &Place, path: &str, content: &[u8]) -> Result<(), BackupError> {
    let mut writer = place.begin(path).await?;
    for block in content.chunks(1 << 20) {
        writer.push(block.to_vec()).await?;
    }
    Ok(writer.finish().await?)
}

/// Reads one.
pub async fn get(place: &Place, path: &str) -> Result<Vec<u8>, BackupError> {
    let mut back = Vec::new();
    let mut reader = place.read(path).await?;
    while let Some(block) = reader.next().await? {
        back.extend_from_slice(&block);
    }
    Ok(back)
}

/// A bucket, and the place through a proxy before it.
fn cut_off() -> (S3, Proxy, Bed) {
    let server = S3::start();
    let proxy = Proxy::to(server.address());
    let bed = in_bucket(format!("http://{}", proxy.address()));
    (server, proxy, bed)
}

#[test]
fn an_upload_that_is_cut_sends_a_few_parts_again() {
    let (server, proxy, bed) = cut_off();
    let (place, content) = (bed.place(), content(4 * PART + 1000));
    for (n, at) in [1 << 10, PART / 2, PART + 5, 2 * PART + 77, 3 * PART, 4 * PART].into_iter().enumerate() {
        let (path, before) = (format!("database/{n}"), proxy.passed(Way::Requests));
        proxy.reset_after(Way::Requests, at);
        on_ring(put(&place, &path, &content)).unwrap();
        assert!(proxy.has_reset(), "it was cut after {at} bytes");
        let sent = proxy.passed(Way::Requests) - before;
        assert!(sent <= content.len() as u64 + AGAIN_MAX, "{sent} bytes sent, cut after {at}");
        assert!(std::fs::read(server.bucket().join(&path)).unwrap() == content);
    }
}

#[test]
fn a_download_that_is_cut_goes_on_where_it_was() {
    let (server, proxy, mut bed) = cut_off();
    // Less than it takes: a long object needs more patience in all than any one request.
    bed.access.patience = Some(Duration::from_secs(1));
    let (place, content) = (bed.place(), content(6 * PART));
    on_ring(put(&in_bucket(server.endpoint()).place(), "database/large", &content)).unwrap();
    let before = proxy.passed(Way::Answers);
    let mut cuts = [1, 3, 5].map(|parts| parts * PART).into_iter().peekable();
    let back = on_ring(async {
        let mut reader = place.read("database/large").await?;
        let mut back = Vec::new();
        while let Some(block) = reader.next().await? {
            back.extend_from_slice(&block);
            if cuts.next_if(|at| back.len() as u64 > *at).is_some() {
                tokio::time::sleep(Duration::from_millis(600)).await;
                proxy.reset_after(Way::Answers, 0);
            }
        }
        Ok(back)
    });
    assert!(back.unwrap() == content && cuts.next().is_none());
    let came = proxy.passed(Way::Answers) - before;
    let again = came.saturating_sub(content.len() as u64);
    println!("{again} bytes came twice");
    assert!(again <= 3 * ON_THE_WAY_MAX, "{again} bytes came twice");
}

/// Bytes of answers that `work` takes when nothing is cut.
fn answers(proxy: &Proxy, work: impl FnOnce()) -> u64 {
    let before = proxy.passed(Way::Answers);
    work();
    proxy.passed(Way::Answers) - before
}

#[test]
fn a_lost_word_of_success_is_no_failure() {
    let (server, proxy, bed) = cut_off();
    let (place, content) = (bed.place(), content(PART + 1000));
    let whole = answers(&proxy, || on_ring(put(&place, "database/whole", &content)).unwrap());
    for n in 0..12 {
        let path = format!("database/{n}");
        proxy.reset_after(Way::Answers, whole * n / 12);
        on_ring(put(&place, &path, &content)).unwrap();
        assert!(std::fs::read(server.bucket().join(&path)).unwrap() == content, "cut {n}");
    }
    let conditions = |name: &str| {
        on_ring(async {
            assert!(place.create(name, b"1").await?);
            let (_, version) = place.get(name, 10).await?.unwrap();
            assert!(place.replace(name, b"2", &version).await?);
            assert!(!place.replace(name, b"3", &version).await?, "it is another one by now");
            assert!(!place.replace(name, b"3", &Version::Absent).await?);
            place.delete(name).await?;
            Ok(())
        })
        .unwrap();
    };
    let whole = answers(&proxy, || conditions("whole.json"));
    for n in 0..12 {
        proxy.reset_after(Way::Answers, whole * n / 12);
        conditions(&format!("{n}.json"));
    }
}

#[test]
fn a_whole_backup_and_its_restore_come_through_cuts() {
    let (_server, proxy, bed) = cut_off();
    let store = bed.store();
    let (alice, _, conversation) = wait(pair(&store));
    wait(async {
        for n in 0..MESSAGES {
            assert!(publish(&store, alice, conversation, n, content(40_000)).await);
        }
    });
    drop(store);
    for at in [0, 3 << 20, 9 << 20, 15 << 20] {
        proxy.reset_after(Way::Requests, at);
        let made = bed.back_up().unwrap();
        assert!(proxy.has_reset() && made.manifest.bytes() > 15 << 20, "{}", made.manifest.bytes());
        proxy.reset_after(Way::Answers, at + 500);
        let checked = on_ring(async {
            check::check(&bed.place(), Which::Named(made.name), &bed.keys, &mut |_, _| {}).await
        });
        assert_eq!(checked.unwrap().manifest, made.manifest);
        assert!(proxy.has_reset());
        proxy.reset_after(Way::Answers, at + 500);
        let target = bed.beside(&format!("cut-{at}"));
        let back = bed.restore(Which::Latest, &target).unwrap();
        assert!(proxy.has_reset() && back.name == made.name && back.contents.messages == MESSAGES);
    }
    assert!(on_ring(async { Ok(bed.place().get(LATEST, 1 << 20).await?) }).unwrap().is_some());
}

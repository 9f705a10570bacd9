//! Backups in buckets of two real S3 servers of different makers, also over a connection that is cut again and again.
#![allow(clippy::unwrap_used)]

mod bed;
mod cut;
mod people;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use backup::BackupError;
use backup::catalogue::{self, LATEST, Latest, Which};
use backup::place::{BucketAccess, Location, Place, PlaceError, Version};
use backup::{check, prune, rekey, retain};
use bed::{Bed, on_ring, wait};
use people::{pair, write};
use servers::s3::{ACCESS_KEY, BUCKET, SECRET_KEY};
use servers::{Moto, S3};

/// A bed whose backups lie in the bucket.
fn bed() -> (Bed, S3) {
    let server = S3::start();
    (in_bucket(server.endpoint()), server)
}

fn in_bucket(endpoint: String) -> Bed {
    Bed { location: format!("s3://{BUCKET}").parse().unwrap(), access: access(endpoint), ..Bed::new() }
}

fn access(endpoint: String) -> BucketAccess {
    BucketAccess {
        endpoint: Some(endpoint),
        region: Some("us-east-1".to_owned()),
        access_key: Some(ACCESS_KEY.to_owned()),
        secret_key: Some(SECRET_KEY.to_owned()),
        patience: Some(Duration::from_secs(20)),
    }
}

/// Everything a place is asked for, one after the other.
fn it_keeps_backups(bed: &Bed) {
    let store = bed.store();
    let (alice, _, conversation) = wait(pair(&store));
    wait(write(&store, alice, conversation, 1..30));
    let made = bed.back_up().unwrap();
    let second = bed.back_up().unwrap();
    let (entries, latest) = on_ring(async {
        let latest = bed.place().get(LATEST, 1 << 20).await?;
        Ok((catalogue::entries(&bed.place()).await?, latest))
    })
    .unwrap();
    assert_eq!(
        entries.iter().map(|e| (e.name, e.is_whole)).collect::<Vec<_>>(),
        [(made.name, true), (second.name, true)]
    );
    let latest: Latest = serde_json::from_slice(&latest.unwrap().0).unwrap();
    assert_eq!(latest.name, second.name.to_string());
    let checked = on_ring(async {
        check::check(&bed.place(), Which::Named(made.name), &bed.keys, &mut |_, _| {}).await
    });
    assert_eq!(checked.unwrap().manifest, made.manifest);
    let back = bed.restore(Which::Latest, &bed.elsewhere()).unwrap();
    assert_eq!((back.name, back.contents.messages), (second.name, 29));
    let rekeyed = on_ring(async { rekey::rekey(&bed.place(), &bed.keys).await }).unwrap();
    assert_eq!((rekeyed.changed, rekeyed.unchanged), (0, 2));
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 400);
    let pruned =
        on_ring(async { prune::prune(&bed.place(), &retain::Retention::BUCKET, later, false).await })
            .unwrap();
    assert_eq!((pruned.removed.len(), pruned.kept), (0, 2), "a clock that runs ahead removes nothing");
}

/// Documents change only as expected.
fn it_keeps_conditions(place: &Place) {
    on_ring(async {
        assert!(place.create("one.json", b"1").await?);
        assert!(!place.create("one.json", b"2").await?);
        let (content, version) = place.get("one.json", 10).await?.unwrap();
        assert_eq!(content, b"1");
        assert!(place.replace("one.json", b"3", &version).await?);
        assert!(!place.replace("one.json", b"4", &version).await?, "it is another one by now");
        assert!(!place.replace("one.json", b"5", &Version::Absent).await?);
        assert_eq!(place.get("one.json", 10).await?.unwrap().0, b"3");
        assert!(place.get("one.json", 0).await.is_err(), "larger than asked for");
        place.delete("one.json").await?;
        place.delete("one.json").await?;
        assert_eq!(place.get("one.json", 10).await?, None);
        Ok(())
    })
    .unwrap();
}

/// An object of several parts.
fn it_keeps_what_is_large(place: &Place) {
    let content = cut::content(30 << 20);
    on_ring(cut::put(place, "database/large", &content)).unwrap();
    assert!(on_ring(cut::get(place, "database/large")).unwrap() == content);
}

#[test]
fn a_backup_goes_up_and_comes_back() {
    let (bed, _server) = bed();
    it_keeps_backups(&bed);
    it_keeps_conditions(&bed.place());
}

#[test]
fn a_server_of_other_makers_does_as_well() {
    let server = Moto::start();
    let mut bed = in_bucket(server.endpoint());
    drop(bed.store());
    let error = bed.back_up().unwrap_err();
    assert!(matches!(error, BackupError::Place(PlaceError::NoBucket { .. })), "{error}");
    let made = put(&format!("{}/{BUCKET}", server.endpoint()));
    assert!(made.starts_with("HTTP/1.1 200"), "{made}");
    it_keeps_conditions(&bed.place());
    it_keeps_what_is_large(&bed.place());
    bed.location = Location::Bucket { bucket: BUCKET.to_owned(), prefix: "team/one".to_owned() };
    std::fs::remove_file(bed.database()).unwrap();
    it_keeps_backups(&bed);
}

/// Makes a bucket, as its owner does.
fn put(url: &str) -> String {
    let (host, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "PUT /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_newer_backup_stays_the_latest() {
    let (bed, _server) = bed();
    drop(bed.store());
    let old = bed.back_up().unwrap();
    let new = bed.back_up().unwrap();
    let latest = on_ring(async {
        Latest::of(old.name, &old.manifest, b"").publish(&bed.place()).await?;
        bed.place().get(LATEST, 1 << 20).await.map_err(BackupError::from)
    });
    let latest: Latest = serde_json::from_slice(&latest.unwrap().unwrap().0).unwrap();
    assert_eq!(latest.name, new.name.to_string());
}

#[test]
fn a_missing_bucket_and_a_wrong_secret_are_named() {
    let (mut bed, _server) = bed();
    drop(bed.store());
    bed.location = Location::Bucket { bucket: "nowhere".to_owned(), prefix: String::new() };
    // This server makes a bucket for whoever writes; it says so to whoever lists.
    let error = on_ring(async { catalogue::entries(&bed.place()).await }).unwrap_err();
    assert!(matches!(error, BackupError::Place(PlaceError::NoBucket { .. })), "{error}");
    bed.location = format!("s3://{BUCKET}").parse().unwrap();
    bed.access.secret_key = Some("another".to_owned());
    let error = bed.back_up().unwrap_err();
    assert!(matches!(error, BackupError::Place(PlaceError::Denied { .. })), "{error}");
    bed.access.endpoint = Some("http://127.0.0.1:1".to_owned());
    bed.access.patience = Some(Duration::from_secs(1));
    let error = bed.back_up().unwrap_err();
    assert!(matches!(error, BackupError::Place(PlaceError::Failed { .. })), "{error}");
    assert!(!error.to_string().contains('\n'), "{error}");
}

#[test]
fn a_server_without_room_is_named_whatever_it_answers() {
    let (mut bed, server) = bed();
    let store = bed.store();
    let (alice, _, conversation) = wait(pair(&store));
    wait(write(&store, alice, conversation, 1..30));
    let made = bed.back_up().unwrap();
    bed.access.patience = Some(Duration::from_secs(1));
    for (status, code) in [(507, "XMinioStorageFull"), (507, "InsufficientStorage"), (403, "QuotaExceeded")] {
        server.refuse(status, code);
        let error = bed.back_up().unwrap_err();
        assert!(matches!(error, BackupError::Place(PlaceError::Full { .. })), "{code}: {error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    server.refuse(403, "RequestTimeTooSkewed");
    let error = bed.back_up().unwrap_err();
    assert!(matches!(error, BackupError::Place(PlaceError::Clock { .. })), "{error}");
    server.accept();
    let entries = on_ring(async { catalogue::entries(&bed.place()).await }).unwrap();
    assert_eq!(
        entries.iter().filter(|entry| entry.is_whole).map(|e| e.name).collect::<Vec<_>>(),
        [made.name]
    );
    assert_eq!(bed.restore(Which::Latest, &bed.elsewhere()).unwrap().contents.messages, 29);
    bed.back_up().unwrap();
}

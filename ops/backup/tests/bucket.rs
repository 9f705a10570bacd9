//! Backups in a bucket of a real S3 server in this process, also over a connection that is cut again and again.
#![allow(clippy::unwrap_used)]

mod bed;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use backup::BackupError;
use backup::catalogue::{self, LATEST, Latest, Which};
use backup::check;
use backup::place::{BucketAccess, Location, Place, PlaceError, Version};
use bed::{Bed, on_ring, pair, wait, write};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;

const BUCKET: &str = "secure-messenger-backups";
const ACCESS_KEY: &str = "backup-tests";
const SECRET_KEY: &str = "kept-in-this-process";

/// Serves a folder as S3 until the process ends.
fn serve(folder: &std::path::Path) -> SocketAddr {
    let files = s3s_fs::FileSystem::new(folder).unwrap();
    let mut service = s3s::service::S3ServiceBuilder::new(files);
    service.set_auth(s3s::auth::SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let service = service.build();
    let (told, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        wait(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let service = service.clone();
                tokio::spawn(async move {
                    let server = Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
    });
    address.recv().unwrap()
}

/// A bed whose backups lie in the bucket.
fn bed() -> Bed {
    let mut bed = Bed::new();
    let s3 = bed.folder.path().join("s3");
    std::fs::create_dir_all(s3.join(BUCKET)).unwrap();
    let server = serve(&s3);
    bed.location = format!("s3://{BUCKET}").parse().unwrap();
    bed.access = access(server);
    bed
}

fn access(server: SocketAddr) -> BucketAccess {
    BucketAccess {
        endpoint: Some(format!("http://{server}")),
        region: Some("eu-west-1".to_owned()),
        access_key: Some(ACCESS_KEY.to_owned()),
        secret_key: Some(SECRET_KEY.to_owned()),
        patience: Some(Duration::from_secs(20)),
    }
}

#[test]
fn a_backup_goes_up_and_comes_back() {
    let bed = bed();
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
}

#[test]
fn documents_change_only_as_expected() {
    let bed = bed();
    let place = bed.place();
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

#[test]
fn a_newer_backup_stays_the_latest() {
    let bed = bed();
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
    let mut bed = bed();
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

/// Passes bytes on, and cuts every connection after so many of them.
fn cutting(server: SocketAddr, after: usize, cuts: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client.unwrap(), TcpStream::connect(server).unwrap());
            let cut = cuts.fetch_add(1, SeqCst);
            // Every other connection lives, or nothing would ever get through.
            let budget = Arc::new(AtomicUsize::new(if cut.is_multiple_of(2) { after } else { usize::MAX }));
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (from, to, budget) = (from.try_clone().unwrap(), to.try_clone().unwrap(), budget.clone());
                std::thread::spawn(move || pass(from, to, &budget));
            }
        }
    });
    address
}

fn pass(mut from: TcpStream, mut to: TcpStream, budget: &AtomicUsize) {
    let mut block = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut block) {
        let left = budget.load(SeqCst);
        if left < count || to.write_all(&block[..count]).is_err() {
            break;
        }
        budget.store(left - count, SeqCst);
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn a_connection_that_is_cut_resumes_without_starting_over() {
    let mut bed = bed();
    let server: SocketAddr =
        bed.access.endpoint.as_deref().unwrap().trim_start_matches("http://").parse().unwrap();
    let cuts = Arc::new(AtomicUsize::new(0));
    // Less than a part of 8 MiB, so that a cut falls into one.
    let through = cutting(server, 5 << 20, cuts.clone());
    let place = |address: SocketAddr| Place::open(&bed.location, &access(address)).unwrap();
    let content: Vec<u8> = (0..30u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    on_ring(async {
        let mut writer = place(through).begin("database/large").await?;
        for block in content.chunks(1 << 20) {
            writer.push(block.to_vec()).await?;
        }
        writer.finish().await?;
        let mut back = Vec::new();
        let mut reader = place(through).read("database/large").await?;
        while let Some(block) = reader.next().await? {
            back.extend_from_slice(&block);
        }
        assert!(back == content);
        Ok(())
    })
    .unwrap();
    assert!(cuts.load(SeqCst) > 2, "{} connections", cuts.load(SeqCst));
    bed.access = access(server);
}

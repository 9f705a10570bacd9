//! The scripts with the variables and names that the guide prints, on PostgreSQL with a bucket.

use std::process::Output;

use servers::{S3, account};

use crate::bed::{Bed, fine, messages, refused};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/backup");

/// A script as the account runs it, with the guide's variables and none of ours.
fn script(bed: &Bed, s3: &S3, name: &str, arguments: &[&str], data: Option<&std::path::Path>) -> Output {
    let mut command = bed.prepared(account::command("sh", bed.folder.path()), &[]);
    command.arg(format!("{FOLDER}/{name}")).args(arguments);
    for (variable, _) in &bed.place {
        command.env_remove(variable);
    }
    let access = s3.variables().into_iter().filter(|(variable, _)| variable.starts_with("S3_"));
    command.env_remove("BACKUP_KEY_FILE").envs(access).env("MESSENGER", env!("CARGO_BIN_EXE_messenger"));
    command.env("S3_BUCKET", format!("s3://{}", servers::s3::BUCKET)).env("ENCRYPTION_KEY", bed.path("key"));
    if let Some(data) = data {
        command.env("PGDATA", data);
    }
    command.output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guides_calls_bring_a_server_back() {
    let s3 = S3::start();
    let mut bed = Bed::in_bucket(&s3);
    let talk = bed.talk(1..11).await;
    let made = fine(&script(&bed, &s3, "backup.sh", &[], None));
    let name = made.split(' ').next().unwrap().to_owned();
    let streaming = bed.stream();
    talk.write(11..21).await;
    bed.until_sealed();
    let proven = fine(&script(&bed, &s3, "test-backup.sh", &[], None));
    assert!(proven.contains("whole and authentic") && proven.contains("messages 20,"), "{proven}");
    drop(talk);
    bed.lose_the_server();
    assert!(streaming.stop().success(), "{}", bed.log());
    let target = bed.target();
    refused(&script(&bed, &s3, "restore.sh", &["latest"], None), 2, "PGDATA");
    let printed = format!("{name}.sql.gz.gpg");
    for (which, expected) in [(printed.as_str(), 10), ("latest", 20)] {
        let said = fine(&script(&bed, &s3, "restore.sh", &[which], Some(&target)));
        assert!(said.contains(&format!("messages {expected},")), "{said}");
        // Gone with its folder when it was looked at.
        let back = servers::Postgres::on(&target);
        assert_eq!(messages(&back), expected);
    }
    let stray = "secure-messenger_20241204_120000.sql.gz.gpg";
    let said = script(&bed, &s3, "restore.sh", &[stray], Some(&target));
    refused(&said, 15, "secure-messenger_20241204_120000");
}

//! The store for tower-sessions, in both versions of its core.

mod support;

use larder_session::TowerStore;
use std::time::Duration;
use support::{Backend, on_all};
use time::OffsetDateTime;

/// The same test for each version.
macro_rules! adapted {
    ($name:ident, $core:ident) => {
        #[tokio::test]
        async fn $name() {
            use $core::SessionStore;
            use $core::session::{Id, Record};
            on_all(async |Backend { larder, name, .. }| {
                let store = TowerStore::new(larder.clone());
                let expiry_date = OffsetDateTime::now_utc() + Duration::from_secs(100);
                let data = [("cart".to_owned(), serde_json::json!([1, "é"]))].into_iter().collect();
                let mut record = Record { id: Id::default(), data, expiry_date };
                store.create(&mut record).await.expect("stored");
                assert_eq!(store.load(&record.id).await.expect("loaded"), Some(record.clone()), "{name}");
                let left = larder.time_left(format!("tower:{}", record.id)).await.unwrap().unwrap();
                assert!(
                    left > Duration::from_secs(90) && left <= Duration::from_secs(100),
                    "{name}: {left:?}"
                );
                // Statement 5: a second session with the same id gets another one.
                let mut second = Record { id: record.id, ..record.clone() };
                store.create(&mut second).await.expect("stored");
                assert_ne!(second.id, record.id, "{name}");
                record.data.insert("n".to_owned(), 1.into());
                store.save(&record).await.expect("saved");
                assert_eq!(store.load(&record.id).await.expect("loaded"), Some(record.clone()), "{name}");
                // Statement 3: what was deleted is not brought back, and an unknown id is not adopted.
                store.delete(&record.id).await.expect("deleted");
                store.save(&record).await.expect("dropped");
                assert_eq!(store.load(&record.id).await.expect("loaded"), None, "{name}");
                // What has expired is gone.
                second.expiry_date = OffsetDateTime::now_utc() - Duration::from_secs(1);
                store.save(&second).await.expect("saved");
                assert_eq!(store.load(&second.id).await.expect("loaded"), None, "{name}");
                // What is no record is an error, not another session.
                larder.set(format!("tower:{}", record.id), "{").await.unwrap();
                assert!(store.load(&record.id).await.is_err(), "{name}");
            })
            .await;
        }
    };
}

adapted!(records_of_version_0_14_are_kept, tower_sessions_core_0_14);
adapted!(records_of_version_0_15_are_kept, tower_sessions_core_0_15);

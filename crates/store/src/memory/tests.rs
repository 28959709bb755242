use std::{pin::pin, task::Poll};

use futures_util::poll;
use gantry_core::Record;

use super::*;
use crate::conformance::{self, Home, task};

struct Place(Memory);

#[async_trait]
impl Home for Place {
    async fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(self.0.clone()))
    }

    async fn put_raw(&self, path: &str, bytes: &[u8]) {
        self.0.put_raw(path, bytes);
    }
}

#[tokio::test]
async fn passes_the_conformance_suite() {
    conformance::run(async || Place(Memory::new())).await;
}

async fn records(store: &Memory) -> Vec<Record> {
    store.load().await.expect("a load").records
}

#[tokio::test]
async fn planted_faults_happen_once_each_and_in_order() {
    let store = Memory::new();
    let batch = |number| vec![Write::Put(task("web", number))];
    let unavailable =
        |result: &Result<(), StoreError>| matches!(result, Err(StoreError::Unavailable { .. }));

    store.plant(Fault::Lost);
    store.plant(Fault::AppliedUnheard);
    assert!(unavailable(&store.commit(batch(1)).await));
    assert_eq!(records(&store).await, []);
    assert!(unavailable(&store.commit(batch(1)).await));
    assert_eq!(records(&store).await, [task("web", 1)]);
    assert_eq!(store.commit(batch(2)).await, Ok(()));
    assert_eq!(store.commits(), 2);

    store.plant(Fault::Deposed);
    for _ in 0..2 {
        let result = store.commit(batch(3)).await;
        assert!(matches!(result, Err(StoreError::Refused { .. })));
    }
    assert!(!store.lease().holds());
    assert_eq!(records(&store).await.len(), 2);
}

#[tokio::test]
async fn held_commits_wait_for_every_holder() {
    let store = Memory::new();
    let (first, second) = (store.hold(), store.hold());
    let mut commit = pin!(store.commit(vec![Write::Put(task("web", 1))]));
    assert_eq!(poll!(&mut commit), Poll::Pending);
    drop(first);
    assert_eq!(poll!(&mut commit), Poll::Pending);
    assert_eq!(records(&store).await, []);
    drop(second);
    assert_eq!(commit.await, Ok(()));
    assert_eq!(records(&store).await.len(), 1);
}

use std::{
    cell::Cell,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use redb::{StorageBackend, backends::FileBackend};
use tempfile::TempDir;

use super::*;
use crate::conformance::{self, Home, task};

struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory"),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("deep/er/gantry.store")
    }
}

#[async_trait]
impl Home for Place {
    async fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(Embedded::open(self.path()).await?))
    }

    async fn put_raw(&self, path: &str, bytes: &[u8]) {
        let database = Database::open(self.path()).expect("a database");
        let change = [(path.to_owned(), Some(bytes.to_vec()))];
        assert!(commit(&database, &change).is_ok());
    }
}

#[tokio::test]
async fn passes_the_conformance_suite() {
    conformance::run(async || Place::new()).await;
}

#[tokio::test]
async fn a_file_in_use_is_refused() {
    let place = Place::new();
    let first = Embedded::open(place.path()).await.expect("a store");
    let error = Embedded::open(place.path()).await.expect_err("a refusal");
    assert_eq!(error, StoreError::Locked { path: place.path() });
    drop(first);
    Embedded::open(place.path()).await.expect("a store");
}

#[tokio::test]
async fn what_a_process_left_while_making_the_file_does_not_disturb() {
    let place = Place::new();
    let unfinished = PathBuf::from(format!("{}.new", place.path().display()));
    for left in [&b""[..], &[0; 100_000], b"redb\x1a\x0a\xa9\x0d\x0a"] {
        let directory = place.path();
        let directory = directory.parent().expect("a parent");
        fs::create_dir_all(directory).expect("a directory");
        fs::write(&unfinished, left).expect("a file");
        Embedded::open(place.path()).await.expect("a store");
        assert!(!unfinished.exists());
        fs::remove_file(place.path()).expect("the file");
    }
}

/// The damage is found when the file is opened, whatever it is: nothing panics, nothing is
/// missing from an answer that is not an error.
#[test]
fn a_damaged_file_is_an_error_and_never_a_smaller_store() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let place = Place::new();
    let original: Vec<_> = (1..200).map(|number| task("web", number)).collect();
    let original = runtime.block_on(async {
        let store = Embedded::open(place.path()).await.expect("a store");
        for chunk in original.chunks(20) {
            let batch = chunk.iter().cloned().map(Write::Put).collect();
            store.commit(batch).await.expect("a commit");
        }
        store.load().await.expect("a load")
    });
    let whole = fs::read(place.path()).expect("the file");

    let damage = prop_oneof![
        (0..whole.len()).prop_map(|length| whole[..length].to_vec()),
        proptest::collection::vec((0..whole.len(), 1..=255_u8), 1..4).prop_map(|flips| {
            let mut bytes = whole.clone();
            for (position, flip) in flips {
                bytes[position] ^= flip;
            }
            bytes
        }),
        // Bits of the header are few, and each matters.
        (0..512_usize, 1..=255_u8).prop_map(|(position, flip)| {
            let mut bytes = whole.clone();
            bytes[position] ^= flip;
            bytes
        }),
    ];
    let mut runner = TestRunner::new(Config {
        cases: 300,
        failure_persistence: None,
        ..Config::default()
    });
    let refused = Cell::new(0);
    let result = runner.run(&damage, |bytes| {
        fs::write(place.path(), bytes).expect("the file");
        let loaded = runtime.block_on(async { Embedded::open(place.path()).await?.load().await });
        match loaded {
            Ok(loaded) => prop_assert_eq!(&loaded, &original),
            Err(StoreError::Corrupt { place: named, .. }) => {
                prop_assert_eq!(named, place.path().display().to_string());
                refused.set(refused.get() + 1);
            }
            Err(error) => prop_assert!(false, "{}", error),
        }
        Ok(())
    });
    result.expect("no damage is taken for a store");
    assert!(refused.get() > 100, "the damage was real: {refused:?}");
}

/// A file whose writes fail as long as told so.
#[derive(Debug)]
struct Failing {
    file: FileBackend,
    fails: Arc<AtomicBool>,
}

impl Failing {
    fn check(&self) -> io::Result<()> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(io::Error::from(ErrorKind::StorageFull));
        }
        Ok(())
    }
}

impl StorageBackend for Failing {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.file.write(offset, data)
    }
}

#[tokio::test]
async fn a_full_disk_is_survived_by_repeating_the_batch() {
    let place = Place::new();
    drop(Embedded::open(place.path()).await.expect("a store"));
    let fails = Arc::new(AtomicBool::new(false));
    let (path, failing) = (place.path(), fails.clone());
    let open = move || {
        let file = fs::OpenOptions::new().read(true).write(true).open(&path);
        let file = file.map_err(|error| unavailable(&path, "cannot be opened", &error))?;
        let backend = Failing {
            file: FileBackend::new(file).map_err(|error| explain(&path, error))?,
            fails: failing.clone(),
        };
        builder()
            .create_with_backend(backend)
            .map_err(|error| explain(&path, error))
    };
    let store = Embedded::open_with(open).await.expect("a store");
    let put = |number| vec![Write::Put(task("web", number))];
    store.commit(put(1)).await.expect("a commit");

    fails.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let error = store.commit(put(2)).await.expect_err("no commit");
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    }
    fails.store(false, Ordering::SeqCst);
    store.commit(put(2)).await.expect("a commit");
    drop(store);

    let store = Embedded::open(place.path()).await.expect("a store");
    let loaded = store.load().await.expect("a load");
    assert_eq!(loaded.records, [task("web", 1), task("web", 2)]);
}

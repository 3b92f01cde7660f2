// SPDX-License-Identifier: GPL-2.0
//! MSI-X vectors: each an event file descriptor that the client listens to.

use gve_device::InterruptSink;
use std::fs::File;
use std::io::Write;
use std::sync::{PoisonError, RwLock};

/// The vectors of one connection.
pub struct Vectors {
    events: RwLock<Vec<Option<File>>>,
}

impl Vectors {
    /// No vector leads anywhere.
    pub fn new(count: u32) -> Vectors {
        Vectors {
            events: RwLock::new((0..count).map(|_| None).collect()),
        }
    }

    /// Replaces `count` vectors from `start` on. A vector for which there is
    /// no file leads nowhere.
    pub fn set(&self, start: u32, count: u32, files: Vec<File>) {
        let mut events = self.events.write().unwrap_or_else(PoisonError::into_inner);
        let mut files = files.into_iter();
        for event in events.iter_mut().skip(start as usize).take(count as usize) {
            *event = files.next();
        }
    }

    /// No vector leads anywhere any more.
    pub fn clear(&self) {
        let mut events = self.events.write().unwrap_or_else(PoisonError::into_inner);
        events.fill_with(|| None);
    }
}

impl InterruptSink for Vectors {
    fn fire(&self, vector: u32) {
        let events = self.events.read().unwrap_or_else(PoisonError::into_inner);
        let Some(Some(event)) = events.get(vector as usize) else {
            tracing::debug!(vector, "interrupt on a vector that is not in use");
            return;
        };
        let mut event: &File = event;
        if let Err(error) = event.write_all(&1u64.to_ne_bytes()) {
            tracing::warn!(vector, %error, "interrupt could not be raised");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};

    #[test]
    fn vectors_are_told_apart() {
        let vectors = Vectors::new(4);
        let mut file = tempfile::tempfile().unwrap();
        vectors.set(2, 1, vec![file.try_clone().unwrap()]);
        vectors.fire(1);
        vectors.fire(100);
        assert_eq!(file.metadata().unwrap().len(), 0);
        vectors.fire(2);
        let mut raw = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut raw).unwrap();
        assert_eq!(raw, 1u64.to_ne_bytes());
        vectors.set(0, 4, Vec::new());
        vectors.fire(2);
        assert_eq!(file.metadata().unwrap().len(), 8);
    }
}

// SPDX-License-Identifier: GPL-2.0

//! The sockets that received device memory, and what they hold of it.

use crate::tokens::{Survey, TokenTable};
use kernel::{
    fmt,
    net::netmem::{DmabufArea, NiovRef},
    prelude::*,
    rbtree::RBTree,
    sync::{lazy::Lazy, new_mutex, Arc, Mutex},
};

/// The tokens of one socket.
#[pin_data]
pub(crate) struct Holder {
    /// Inode number of the socket, by which `ss` and `/proc/*/fd` know it.
    pub(crate) inode: u64,
    #[pin]
    pub(crate) tokens: TokenTable<NiovRef>,
}

/// All sockets that hold tokens or once did, by the address of their [`Holder`].
///
/// The lock is taken in process context with no lock but that of a socket outside.
static HOLDERS: Lazy<Mutex<RBTree<usize, Arc<Holder>>>> = Lazy::new();

/// A socket's share in its [`Holder`], which ends with the socket. Drop it in process context.
pub(crate) struct SocketTokens(Arc<Holder>);

impl SocketTokens {
    /// Makes an empty table for the socket with this inode. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(inode: u64) -> Result<Self> {
        let holders = HOLDERS.get_or_init(new_mutex!(RBTree::new()))?;
        let holder = Arc::pin_init(
            try_pin_init!(Holder {
                inode,
                tokens <- TokenTable::new(),
            }? Error),
            GFP_KERNEL,
        )?;
        let this = Self(holder);

        holders
            .lock()
            .try_create_and_insert(this.key(), this.0.clone(), GFP_KERNEL)?;
        Ok(this)
    }

    pub(crate) fn holder(&self) -> &Holder {
        &self.0
    }

    fn key(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }
}

impl Drop for SocketTokens {
    fn drop(&mut self) {
        // The last reference goes with `self`, and the tokens with it, outside of the lock.
        let removed = HOLDERS
            .get()
            .and_then(|holders| holders.lock().remove(&self.key()));

        drop(removed);
    }
}

/// Writes a line for each socket that holds tokens for memory of `area`: inode, tokens, age of the
/// oldest in seconds.
///
/// Process context; a socket that ends meanwhile waits.
pub(crate) fn list(area: &DmabufArea, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(holders) = HOLDERS.get() else {
        return Ok(());
    };

    for holder in holders.lock().values() {
        let Survey { tokens, oldest } = holder.tokens.survey(|addr| area.has_address(addr));
        if tokens != 0 {
            writeln!(f, "{} {} {}", holder.inode, tokens, oldest)?;
        }
    }
    Ok(())
}

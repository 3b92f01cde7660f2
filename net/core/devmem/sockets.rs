// SPDX-License-Identifier: GPL-2.0

//! The sockets that received device memory, and what they hold of it.

use crate::tokens::{Survey, TokenTable};
use kernel::{
    fmt,
    net::netmem::{DmabufArea, NiovRef},
    prelude::*,
    rbtree::{RBTree, RBTreeNodeReservation},
    sync::{new_mutex, Arc, Mutex, SetOnce},
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
/// The lock is taken in process context with no lock but that of a socket outside, and held for
/// one step.
type Holders = Mutex<RBTree<usize, Arc<Holder>>>;

static HOLDERS: SetOnce<Pin<KBox<Holders>>> = SetOnce::new();

/// Called once, before there is any holder.
pub(crate) fn init() -> Result {
    HOLDERS.populate(KBox::pin_init(new_mutex!(RBTree::new()), GFP_KERNEL)?);
    Ok(())
}

/// A socket's share in its [`Holder`], which ends with the socket. Drop it in process context.
pub(crate) struct SocketTokens(Arc<Holder>);

impl SocketTokens {
    /// Makes an empty table for the socket with this inode. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(inode: u64) -> Result<Self> {
        let holders = HOLDERS.as_ref().ok_or(ENOMEM)?;
        let holder = Arc::pin_init(
            pin_init!(Holder {
                inode,
                tokens <- TokenTable::new(),
            }),
            GFP_KERNEL,
        )?;
        let node = RBTreeNodeReservation::new(GFP_KERNEL)?;
        let this = Self(holder);
        let node = node.into_node(this.key(), this.0.clone());

        holders.lock().insert(node);
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
        let removed = HOLDERS
            .as_ref()
            .and_then(|holders| holders.lock().remove(&self.key()));

        drop(removed);
        // Somebody who looks at the table may have it for a while yet.
        self.0.tokens.release_all();
    }
}

/// The first holder whose key is at least `key`, and its key.
fn holder_from(holders: &Holders, key: usize) -> Option<(usize, Arc<Holder>)> {
    let holders = holders.lock();
    let cursor = holders.cursor_lower_bound(&key)?;
    let (&key, holder) = cursor.current();

    Some((key, holder.clone()))
}

/// Writes a line for each socket that holds tokens for memory of `area`: inode, tokens, age of the
/// oldest in seconds.
///
/// Process context; keeps nobody waiting. Sockets that come and go meanwhile may be left out.
pub(crate) fn list(area: &DmabufArea, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(holders) = HOLDERS.as_ref() else {
        return Ok(());
    };
    let mut next = Some(0);

    while let Some((key, holder)) = next.and_then(|from| holder_from(holders, from)) {
        let is_ours = |niov: &NiovRef| area.index_of(niov).is_some();
        let Survey { tokens, oldest } = holder.tokens.survey(is_ours);
        if tokens != 0 {
            writeln!(f, "{} {} {}", holder.inode, tokens, oldest)?;
        }
        next = key.checked_add(1);
    }
    Ok(())
}

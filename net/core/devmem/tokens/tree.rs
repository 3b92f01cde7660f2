// SPDX-License-Identifier: GPL-2.0

//! Numbers, the lowest free one first, and what is held under each.
//!
//! A tree of three levels. At the bottom are leaves of 64 numbers; each level above has a bit per
//! child that says whether there is a free number in it, so that the lowest free one is found in a
//! few steps however many are in use. Memory is there for what is in use, and goes with it: a leaf
//! without a number in use is freed, but for one that waits for the next.
//!
//! [`XArray`](kernel::xarray::XArray) does as much for C. It allocates under its lock, and each of
//! its operations is for one number; ours are for all frags of a packet.

use kernel::{alloc::flags::GFP_KERNEL_ACCOUNT, prelude::*};

/// Children of a branch, and numbers of a leaf: as many as a word has bits.
const FAN: u32 = u64::BITS;
/// Numbers below a branch.
const BRANCH: u32 = FAN * FAN;
/// Most branches.
const BRANCHES: u32 = 1024;
const ROOT_WORDS: usize = (BRANCHES / u64::BITS) as usize;

/// How many numbers there are.
pub(super) const NUMBERS: u32 = BRANCHES * BRANCH;

#[inline]
fn bit(number: u32) -> u64 {
    1u64.wrapping_shl(number)
}

/// Where a number is: (branch, leaf of it, bit of that).
#[inline]
fn locate(number: u32) -> (usize, u32, u32) {
    ((number / BRANCH) as usize, number / FAN % FAN, number % FAN)
}

/// 64 numbers.
pub(super) struct Leaf<T> {
    /// Those that are neither reserved nor held.
    free: u64,
    held: [Option<T>; FAN as usize],
    /// What was said of each that is held.
    notes: [u32; FAN as usize],
}

impl<T> Leaf<T> {
    fn new() -> Result<KBox<Self>> {
        let new = Self {
            free: u64::MAX,
            held: [const { None }; FAN as usize],
            notes: [0; FAN as usize],
        };
        Ok(KBox::new(new, GFP_KERNEL_ACCOUNT)?)
    }

    /// What is held in it, with its notes.
    pub(super) fn held(&self) -> impl Iterator<Item = (&T, u32)> {
        let pairs = self.held.iter().zip(self.notes);
        pairs.filter_map(|(value, note)| Some((value.as_ref()?, note)))
    }
}

type Leaves<T> = [Option<KBox<Leaf<T>>>; FAN as usize];

/// 64 leaves, those that are there.
struct Branch<T> {
    /// Leaves with a free number. One that is not there has only such.
    roomy: u64,
    /// Leaves that are there.
    present: u64,
    leaves: Option<KBox<Leaves<T>>>,
}

impl<T> Branch<T> {
    const fn new() -> Self {
        Self {
            roomy: u64::MAX,
            present: 0,
            leaves: None,
        }
    }

    #[inline]
    fn leaf(&self, leaf: u32) -> Option<&Leaf<T>> {
        self.leaves.as_ref()?.get(leaf as usize)?.as_deref()
    }

    #[inline]
    fn leaf_mut(&mut self, leaf: u32) -> Option<&mut Leaf<T>> {
        self.leaves.as_mut()?.get_mut(leaf as usize)?.as_deref_mut()
    }
}

/// Memory that a [`Tree`] may need to give another number, brought along since it can't be
/// allocated under the tree's lock.
pub(super) struct Supplies<T> {
    root: Option<KVec<Branch<T>>>,
    leaves: Option<KBox<Leaves<T>>>,
    leaf: Option<KBox<Leaf<T>>>,
}

impl<T> Supplies<T> {
    pub(super) const fn new() -> Self {
        Self {
            root: None,
            leaves: None,
            leaf: None,
        }
    }

    /// Gets what a tree lacks. May sleep.
    pub(super) fn get(&mut self, lack: Lack) -> Result {
        match lack {
            Lack::Numbers => return Err(EBUSY),
            Lack::Root(branches) => {
                self.root = Some(KVec::with_capacity(branches, GFP_KERNEL_ACCOUNT)?);
            }
            Lack::Leaves => {
                let none = [const { None }; FAN as usize];
                self.leaves = Some(KBox::new(none, GFP_KERNEL_ACCOUNT)?);
            }
            Lack::Leaf => self.leaf = Some(Leaf::new()?),
        }
        Ok(())
    }
}

/// What keeps a tree from giving another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// All are in use.
    Numbers,
    /// Space for so many branches.
    Root(usize),
    /// Space for the leaves of a branch.
    Leaves,
    /// A leaf.
    Leaf,
}

/// Which numbers are in use, and what is held under them.
pub(super) struct Tree<T> {
    /// Branches with a free number. One that is not there has only such.
    roomy: [u64; ROOT_WORDS],
    branches: KVec<Branch<T>>,
    /// A leaf without a number in use.
    spare: Option<KBox<Leaf<T>>>,
    /// Numbers that are reserved or held.
    used: u32,
}

impl<T> Tree<T> {
    /// All numbers are free. Has allocated nothing yet.
    pub(super) const fn new() -> Self {
        Self {
            roomy: [u64::MAX; ROOT_WORDS],
            branches: KVec::new(),
            spare: None,
            used: 0,
        }
    }

    pub(super) fn used(&self) -> u32 {
        self.used
    }

    #[inline]
    fn lowest_branch(&self) -> Option<u32> {
        let mut first = 0;
        for word in self.roomy {
            if word != 0 {
                return Some(first + word.trailing_zeros());
            }
            first += u64::BITS;
        }
        None
    }

    #[inline]
    fn set_roomy(&mut self, branch: u32, roomy: bool) {
        if let Some(word) = self.roomy.get_mut((branch / u64::BITS) as usize) {
            let bit = bit(branch % u64::BITS);
            if roomy {
                *word |= bit;
            } else {
                *word &= !bit;
            }
        }
    }

    /// Makes sure that `branch` is on the list.
    #[cold]
    fn add_branches(&mut self, branch: usize, supplies: &mut Supplies<T>) -> Result<(), Lack> {
        let wanted = branch + 1;
        if self.branches.capacity() < wanted {
            let mut larger = match supplies.root.take() {
                Some(root) if root.capacity() >= wanted => root,
                _ => return Err(Lack::Root(wanted.next_power_of_two().max(4))),
            };
            for known in self.branches.drain_all() {
                // There is space for more than that.
                let _ = larger.push_within_capacity(known);
            }
            self.branches = larger;
        }
        while self.branches.len() < wanted {
            if self.branches.push_within_capacity(Branch::new()).is_err() {
                return Err(Lack::Root(wanted));
            }
        }
        Ok(())
    }

    /// The leaf with the lowest free number, made if need be, and its place.
    #[inline]
    fn lowest_leaf(
        &mut self,
        supplies: &mut Supplies<T>,
    ) -> Result<(u32, u32, &mut Leaf<T>), Lack> {
        let at = self.lowest_branch().ok_or(Lack::Numbers)?;
        if self.branches.len() <= at as usize {
            self.add_branches(at as usize, supplies)?;
        }
        let branch = self.branches.get_mut(at as usize).ok_or(Lack::Numbers)?;
        let leaf = branch.roomy.trailing_zeros();
        let leaves = match &mut branch.leaves {
            Some(leaves) => leaves,
            none => none.insert(supplies.leaves.take().ok_or(Lack::Leaves)?),
        };
        let place = leaves.get_mut(leaf as usize).ok_or(Lack::Numbers)?;
        let there = match place {
            Some(there) => there,
            none => {
                let spare = self.spare.take().or_else(|| supplies.leaf.take());
                branch.present |= bit(leaf);
                none.insert(spare.ok_or(Lack::Leaf)?)
            }
        };
        Ok((at, leaf, there))
    }

    /// Reserves the lowest free numbers, as many as `numbers` has places, and returns how many it
    /// got. What is reserved is the caller's, and nothing is held under it.
    ///
    /// # Errors
    ///
    /// What is missing, if it could get none.
    pub(super) fn reserve(
        &mut self,
        numbers: &mut [u32],
        supplies: &mut Supplies<T>,
    ) -> Result<usize, Lack> {
        let mut got = 0;

        while got < numbers.len() {
            let (branch, leaf, there) = match self.lowest_leaf(supplies) {
                Ok(found) => found,
                Err(_) if got != 0 => break,
                Err(lack) => return Err(lack),
            };
            let first = branch * BRANCH + leaf * FAN;
            let mut free = there.free;
            let before = got;
            for number in numbers.iter_mut().skip(got) {
                if free == 0 {
                    break;
                }
                *number = first + free.trailing_zeros();
                free &= free - 1;
                got += 1;
            }
            there.free = free;
            // CAST: At most 64.
            self.used += (got - before) as u32;
            if free == 0 {
                self.leaf_is_full(branch, leaf);
            }
        }
        Ok(got)
    }

    fn leaf_is_full(&mut self, at: u32, leaf: u32) {
        if let Some(branch) = self.branches.get_mut(at as usize) {
            branch.roomy &= !bit(leaf);
            if branch.roomy == 0 {
                self.set_roomy(at, false);
            }
        }
    }

    /// Holds `value` under a number that the caller has reserved.
    #[inline]
    pub(super) fn put(&mut self, number: u32, value: T, note: u32) {
        let (branch, leaf, at) = locate(number);
        let Some(leaf) = self.branches.get_mut(branch).and_then(|b| b.leaf_mut(leaf)) else {
            return;
        };
        if let (Some(place), Some(noted)) = (
            leaf.held.get_mut(at as usize),
            leaf.notes.get_mut(at as usize),
        ) {
            *place = Some(value);
            *noted = note;
        }
    }

    /// Takes what is held under `number`, which is free then.
    #[inline]
    pub(super) fn take(&mut self, number: u32) -> Option<T> {
        let (branch, leaf, at) = locate(number);
        let place = self.branches.get_mut(branch)?.leaf_mut(leaf)?;
        let value = place.held.get_mut(at as usize)?.take()?;

        self.free(number);
        Some(value)
    }

    /// Gives a number back that is reserved, and under which nothing is held.
    #[inline]
    pub(super) fn free(&mut self, number: u32) {
        let (at, leaf, number) = locate(number);
        let Some(branch) = self.branches.get_mut(at) else {
            return;
        };
        let Some(there) = branch.leaf_mut(leaf) else {
            return;
        };
        let was_full = there.free == 0;
        there.free |= bit(number);
        let is_empty = there.free == u64::MAX;

        self.used -= 1;
        if was_full {
            branch.roomy |= bit(leaf);
            self.set_roomy(at as u32, true);
        }
        if is_empty {
            self.leaf_is_empty(at, leaf);
        }
    }

    /// Lets go of a leaf without a number in use, and of the branch if that was its last.
    #[cold]
    fn leaf_is_empty(&mut self, branch: usize, leaf: u32) {
        let Some(branch) = self.branches.get_mut(branch) else {
            return;
        };
        let place = branch
            .leaves
            .as_mut()
            .and_then(|l| l.get_mut(leaf as usize));
        let empty = place.and_then(Option::take);

        branch.present &= !bit(leaf);
        if branch.present == 0 {
            branch.leaves = None;
        }
        if self.spare.is_none() {
            self.spare = empty;
        }
    }

    /// The first leaf that is there from leaf number `from` on, counted over all branches, and its
    /// number.
    pub(super) fn leaf_from(&self, from: u32) -> Option<(u32, &Leaf<T>)> {
        let mut skip = from % FAN;

        for (at, branch) in self.branches.iter().enumerate().skip((from / FAN) as usize) {
            let present = branch.present & u64::MAX.wrapping_shl(skip);
            if present != 0 {
                let leaf = present.trailing_zeros();
                return Some((at as u32 * FAN + leaf, branch.leaf(leaf)?));
            }
            skip = 0;
        }
        None
    }

    /// Takes the tree apart into its leaves, for their owner to drop one by one.
    pub(super) fn into_leaves(self) -> impl Iterator<Item = KBox<Leaf<T>>> {
        let leaves = self.branches.into_iter().filter_map(|branch| branch.leaves);
        leaves.flat_map(|mut leaves| {
            let mut places = 0..FAN as usize;
            core::iter::from_fn(move || {
                places.find_map(|place| leaves.get_mut(place).and_then(Option::take))
            })
        })
    }

    /// How many leaves there are, the spare one included.
    #[cfg(CONFIG_NET_DEVMEM_RUST_KUNIT_TEST)]
    pub(super) fn leaves(&self) -> u32 {
        let there = self
            .branches
            .iter()
            .map(|b| b.present.count_ones())
            .sum::<u32>();
        there + u32::from(self.spare.is_some())
    }
}

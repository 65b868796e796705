//! What is on a simulated disk: files as a process sees them, as they are durable, and what lies between. Owns what a
//! power cut may do to them; knows nothing of calls that fail.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::Geometry;

/// All files.
#[derive(Clone)]
pub(super) struct Image {
    geometry: Geometry,
    /// Bytes that files may take.
    pub(super) capacity: u64,
    /// Never removed, since a process may have it open.
    inodes: Vec<Inode>,
    /// As a process sees them.
    names: Names,
    durable_names: Names,
    /// What the process did to the names since the last sync, in order.
    unsynced: Vec<Renaming>,
    /// Of it, what a sync has failed on: no later one of this process is about it.
    failed: Vec<Renaming>,
}

type Names = BTreeMap<String, usize>;

#[derive(Clone, Default)]
struct Inode {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Since the last sync, in order.
    unsynced: Vec<Write>,
    /// Pages that take room.
    pages: BTreeSet<usize>,
}

/// Bytes on their way to the disk.
#[derive(Clone)]
pub(super) struct Write {
    pub(super) offset: usize,
    pub(super) bytes: Vec<u8>,
}

/// A change of names: `gone` goes, then `name` is given.
#[derive(Clone)]
struct Renaming {
    gone: Option<String>,
    name: Option<(String, usize)>,
}

/// How much of what is not synced survives.
#[derive(Clone, Copy)]
enum Survival {
    Nothing,
    Everything,
    Any,
}

impl Image {
    pub(super) fn new(geometry: Geometry) -> Image {
        Image {
            geometry,
            capacity: u64::MAX,
            inodes: Vec::new(),
            names: Names::new(),
            durable_names: Names::new(),
            unsynced: Vec::new(),
            failed: Vec::new(),
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    pub(super) fn inode(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    pub(super) fn file(&self, name: &str) -> io::Result<&Vec<u8>> {
        Ok(self.live(self.inode(name)?))
    }

    pub(super) fn live(&self, inode: usize) -> &Vec<u8> {
        &self.inodes[inode].live
    }

    pub(super) fn used(&self) -> u64 {
        let pages: usize = self.names.values().map(|inode| self.inodes[*inode].pages.len()).sum();
        (pages * self.geometry.page) as u64
    }

    pub(super) fn put(&mut self, name: &str, bytes: Vec<u8>) {
        let pages = (0..bytes.len().div_ceil(self.geometry.page)).collect();
        self.inodes.push(Inode { live: bytes.clone(), durable: bytes, unsynced: Vec::new(), pages });
        let inode = self.inodes.len() - 1;
        self.names.insert(name.to_owned(), inode);
        self.durable_names.insert(name.to_owned(), inode);
    }

    pub(super) fn create(&mut self, name: &str) -> io::Result<usize> {
        if self.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.inodes.push(Inode::default());
        let inode = self.inodes.len() - 1;
        self.renamed(Renaming { gone: None, name: Some((name.to_owned(), inode)) });
        Ok(inode)
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let inode = self.inode(from)?;
        self.renamed(Renaming { gone: Some(from.to_owned()), name: Some((to.to_owned(), inode)) });
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        self.inode(name)?;
        self.renamed(Renaming { gone: Some(name.to_owned()), name: None });
        Ok(())
    }

    fn renamed(&mut self, renaming: Renaming) {
        renaming.apply(&mut self.names);
        self.unsynced.push(renaming);
    }

    pub(super) fn sync_names(&mut self) {
        // Only what is still unsynced: as with pages, the kernel takes for clean what a sync has failed on.
        for renaming in std::mem::take(&mut self.unsynced) {
            renaming.apply(&mut self.durable_names);
        }
    }

    pub(super) fn forget_unsynced_names(&mut self) {
        self.failed.append(&mut self.unsynced);
    }

    /// The next process syncs all names that it finds.
    pub(super) fn remember_names(&mut self) {
        let later = std::mem::replace(&mut self.unsynced, std::mem::take(&mut self.failed));
        self.unsynced.extend(later);
    }

    pub(super) fn write(&mut self, inode: usize, write: Write) -> io::Result<()> {
        let end = write.offset + write.bytes.len();
        self.take_pages(inode, write.offset / self.geometry.page..end.div_ceil(self.geometry.page))?;
        let inode = &mut self.inodes[inode];
        grow(&mut inode.live, end);
        write.apply(&mut inode.live, 0);
        inode.unsynced.push(write);
        Ok(())
    }

    pub(super) fn allocate(&mut self, inode: usize, len: usize) -> io::Result<()> {
        self.take_pages(inode, 0..len.div_ceil(self.geometry.page))?;
        grow(&mut self.inodes[inode].live, len);
        Ok(())
    }

    fn take_pages(&mut self, inode: usize, pages: std::ops::Range<usize>) -> io::Result<()> {
        let new = pages.clone().filter(|page| !self.inodes[inode].pages.contains(page)).count();
        if self.used() + (new * self.geometry.page) as u64 > self.capacity {
            return Err(ErrorKind::StorageFull.into());
        }
        self.inodes[inode].pages.extend(pages);
        Ok(())
    }

    pub(super) fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
        let inode = self.inode(name)?;
        let (page, inode) = (self.geometry.page, &mut self.inodes[inode]);
        inode.live.truncate(len as usize);
        inode.pages.retain(|at| *at < (len as usize).div_ceil(page));
        Ok(())
    }

    pub(super) fn sync(&mut self, inode: usize) {
        let page = self.geometry.page;
        let inode = &mut self.inodes[inode];
        // Only what is still unsynced: pages whose sync has failed are clean for the kernel, and stay as they are on the
        // disk.
        inode.durable.truncate(inode.live.len());
        grow(&mut inode.durable, inode.live.len());
        let touched: BTreeSet<usize> = inode.unsynced.iter().flat_map(|write| write.pages(page)).collect();
        for write in std::mem::take(&mut inode.unsynced) {
            write.apply(&mut inode.durable, 0);
        }
        // A page that is written again is written as a whole.
        for at in touched {
            let range = at * page..((at + 1) * page).min(inode.live.len());
            if !range.is_empty() {
                inode.durable[range.clone()].copy_from_slice(&inode.live[range]);
            }
        }
    }

    pub(super) fn forget_unsynced(&mut self, inode: usize) {
        self.inodes[inode].unsynced.clear();
    }

    /// The same files, all durable.
    pub(super) fn settled(&self) -> Image {
        let mut image = Image::new(self.geometry);
        image.capacity = self.capacity;
        for (name, inode) in &self.names {
            image.put(name, self.live(*inode).clone());
        }
        image
    }

    pub(super) fn after_power_cut(&self, seed: u64) -> Image {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut names = self.durable_names.clone();
        let survival = Survival::draw(&mut random);
        for renaming in &self.unsynced {
            if survival.survives(&mut random) {
                renaming.apply(&mut names);
            }
        }
        let mut image = Image::new(self.geometry);
        image.capacity = self.capacity;
        let survival = Survival::draw(&mut random);
        for (name, inode) in names {
            image.put(&name, self.inodes[inode].after_power_cut(self.geometry, survival, &mut random));
        }
        image
    }
}

impl Inode {
    fn after_power_cut(&self, geometry: Geometry, survival: Survival, random: &mut SmallRng) -> Vec<u8> {
        let mut len = self.durable.len();
        if survival.survives(random) {
            len = self.live.len();
        }
        let mut bytes = self.durable.clone();
        grow(&mut bytes, len);
        let written: BTreeSet<usize> = self.unsynced.iter().flat_map(|write| write.pages(geometry.page)).collect();
        for page in written {
            let begin = page * geometry.page;
            if begin >= bytes.len() {
                continue;
            }
            let end = (begin + geometry.page).min(bytes.len());
            let writes: Vec<&Write> =
                self.unsynced.iter().filter(|write| write.pages(geometry.page).contains(&page)).collect();
            // A page is written back as it is at some moment: it has the first so many writes.
            let after = |count: usize| {
                let mut page = bytes[begin..end].to_vec();
                writes[..count].iter().for_each(|write| write.apply(&mut page, begin));
                page
            };
            let count = match survival {
                Survival::Nothing => 0,
                Survival::Everything => writes.len(),
                Survival::Any => random.random_range(0..=writes.len()),
            };
            let mut new = after(count);
            if matches!(survival, Survival::Any) && random.random_range(0..3) == 0 {
                let old = after(random.random_range(0..=count));
                for sector in (0..new.len()).step_by(geometry.sector) {
                    if random.random() {
                        let range = sector..(sector + geometry.sector).min(new.len());
                        new[range.clone()].copy_from_slice(&old[range]);
                    }
                }
            }
            bytes[begin..begin + new.len()].copy_from_slice(&new);
        }
        bytes.truncate(len);
        bytes
    }
}

/// Makes `bytes` at least `len` long. Not by `resize`, which without optimisation takes most of a test's time.
fn grow(bytes: &mut Vec<u8>, len: usize) {
    if let Some(more) = len.checked_sub(bytes.len()) {
        bytes.extend_from_slice(&vec![0; more]);
    }
}

impl Write {
    fn pages(&self, page: usize) -> std::ops::Range<usize> {
        self.offset / page..(self.offset + self.bytes.len()).div_ceil(page)
    }

    /// Writes what falls into `bytes`, which begin at `begin` of the file.
    fn apply(&self, bytes: &mut [u8], begin: usize) {
        let from = self.offset.max(begin);
        let to = (self.offset + self.bytes.len()).min(begin + bytes.len());
        if from < to {
            bytes[from - begin..to - begin].copy_from_slice(&self.bytes[from - self.offset..to - self.offset]);
        }
    }
}

impl Renaming {
    fn apply(&self, names: &mut Names) {
        if let Some(gone) = &self.gone {
            names.remove(gone);
        }
        if let Some((name, inode)) = &self.name {
            names.insert(name.clone(), *inode);
        }
    }
}

impl Survival {
    fn draw(random: &mut SmallRng) -> Survival {
        match random.random_range(0..8) {
            0 => Survival::Nothing,
            1 => Survival::Everything,
            _ => Survival::Any,
        }
    }

    fn survives(self, random: &mut SmallRng) -> bool {
        match self {
            Survival::Nothing => false,
            Survival::Everything => true,
            Survival::Any => random.random(),
        }
    }
}

//! The one allocator of this process, chosen when it is built, and its name for the report. Knows nothing of who allocates.

#[cfg(all(feature = "jemalloc", not(feature = "system")))]
#[global_allocator]
static GLOBAL: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[cfg(all(feature = "mimalloc", not(any(feature = "jemalloc", feature = "system"))))]
#[global_allocator]
static GLOBAL: kvd_alloc::Mimalloc = kvd_alloc::Mimalloc;

/// As the features of this crate call it.
pub(crate) const NAME: &str = if cfg!(feature = "system") {
    "system"
} else if cfg!(feature = "jemalloc") {
    "jemalloc"
} else if cfg!(feature = "mimalloc") {
    "mimalloc"
} else {
    "system"
};

/// Environments that ask an allocator for huge pages, or keep them from it, as (allocator, name, variable, value).
///
/// # Source
/// mimalloc's and jemalloc's manuals (the Rust build of jemalloc prefixes its variable), and glibc's on its tunables. Without
/// being asked, mimalloc 3 has huge pages where the kernel's setting is `madvise`; the others have none.
pub(crate) const VARIANTS: [(&str, &str, &str, &str); 4] = [
    ("mimalloc", "no huge pages", "MIMALLOC_ALLOW_THP", "0"),
    ("mimalloc", "large OS pages", "MIMALLOC_ALLOW_LARGE_OS_PAGES", "1"),
    ("jemalloc", "thp:always", "_RJEM_MALLOC_CONF", "thp:always,metadata_thp:always"),
    ("system", "hugetlb=1", "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"),
];

//! Loaded before the C library into a server under test. What the server makes durable is copied to the shadow of its
//! disk, and nothing else is; its wall clock is the machine's, shifted. Everything else is as ever.

#[path = "../src/machine/shadow.rs"]
mod shadow;

use std::ffi::{CStr, c_char, c_int, c_void};
use std::fs::File;
use std::mem::{ManuallyDrop, transmute};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicPtr, Ordering};

use shadow::{CLOCK, DISK, IGNORED, SHADOW, SYNC, Shadow};

/// What a call answers that the disk could not serve.
const EIO: c_int = 5;
/// Clocks that show the time of day: CLOCK_REALTIME, its coarse one, CLOCK_TAI.
const WALL_CLOCKS: [c_int; 3] = [0, 5, 11];

unsafe extern "C" {
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
    fn mmap(
        at: *mut c_void,
        bytes: usize,
        protection: c_int,
        flags: c_int,
        fd: c_int,
        offset: i64,
    ) -> *mut c_void;
    fn __errno_location() -> *mut c_int;
}

/// Seconds and a fraction of one, as `timespec` and `timeval` begin.
#[repr(C)]
pub struct Time {
    seconds: i64,
    fraction: i64,
}

/// A function of the C library.
struct Original {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
}

impl Original {
    const fn of(name: &'static CStr) -> Self {
        Self { name, found: AtomicPtr::new(std::ptr::null_mut()) }
    }

    fn get(&self) -> *mut c_void {
        let found = self.found.load(Ordering::Relaxed);
        if !found.is_null() {
            return found;
        }
        // RTLD_NEXT: whoever comes after this object.
        let next = std::ptr::without_provenance_mut(usize::MAX);
        // SAFETY: the name ends in a zero.
        let found = unsafe { dlsym(next, self.name.as_ptr()) };
        assert!(!found.is_null(), "the C library has {:?}", self.name);
        self.found.store(found, Ordering::Relaxed);
        found
    }
}

/// The disk of this machine, for a program that was started on one.
fn disk() -> Option<&'static Shadow> {
    static DISK_OF_THIS: OnceLock<Option<Shadow>> = OnceLock::new();
    let found = || {
        let shadow = std::env::var_os(SHADOW)?;
        let lies = std::env::var(SYNC).is_ok_and(|word| word == IGNORED);
        Some(Shadow::new(std::env::var_os(DISK)?.into(), shadow.as_ref(), lies))
    };
    DISK_OF_THIS.get_or_init(found).as_ref()
}

fn make_durable(fd: c_int, original: &Original) -> c_int {
    if let Some(disk) = disk() {
        // SAFETY: the caller's descriptor is only looked at, and stays open.
        let file = ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
        match disk.keep(&file) {
            Ok(true) => return 0,
            Ok(false) => {}
            Err(_) => {
                // SAFETY: the C library gives each thread a place for its error.
                unsafe { *__errno_location() = EIO };
                return -1;
            }
        }
    }
    // SAFETY: `fsync` and `fdatasync` are of this type.
    let original: extern "C" fn(c_int) -> c_int = unsafe { transmute(original.get()) };
    original(fd)
}

/// See `fsync(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn fsync(fd: c_int) -> c_int {
    static ORIGINAL: Original = Original::of(c"fsync");
    make_durable(fd, &ORIGINAL)
}

/// See `fdatasync(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(fd: c_int) -> c_int {
    static ORIGINAL: Original = Original::of(c"fdatasync");
    make_durable(fd, &ORIGINAL)
}

/// By how many seconds the wall clock is wrong.
fn shift() -> i64 {
    static SHIFT: OnceLock<Option<&'static AtomicI64>> = OnceLock::new();
    let shift = SHIFT.get_or_init(|| {
        let file = File::open(std::env::var_os(CLOCK)?).ok()?;
        // SAFETY: PROT_READ (1), MAP_SHARED (1): a new mapping of a file of eight bytes, which stays.
        let at = unsafe { mmap(std::ptr::null_mut(), 8, 1, 1, file.as_raw_fd(), 0) };
        // SAFETY: MAP_FAILED is -1; a mapping begins at a page and is never undone.
        (at as isize != -1).then(|| unsafe { &*at.cast::<AtomicI64>() })
    });
    shift.map_or(0, |seconds| seconds.load(Ordering::Relaxed))
}

/// See `clock_gettime(2)`.
///
/// # Safety
/// `time` is as that wants it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: c_int, time: *mut Time) -> c_int {
    static ORIGINAL: Original = Original::of(c"clock_gettime");
    // SAFETY: it is of this type.
    let original: extern "C" fn(c_int, *mut Time) -> c_int = unsafe { transmute(ORIGINAL.get()) };
    let answer = original(clock, time);
    if answer == 0 && WALL_CLOCKS.contains(&clock) {
        // SAFETY: it was just written through.
        unsafe { (*time).seconds += shift() };
    }
    answer
}

/// See `gettimeofday(2)`.
///
/// # Safety
/// `time` is as that wants it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gettimeofday(time: *mut Time, zone: *mut c_void) -> c_int {
    static ORIGINAL: Original = Original::of(c"gettimeofday");
    // SAFETY: it is of this type.
    let original: extern "C" fn(*mut Time, *mut c_void) -> c_int = unsafe { transmute(ORIGINAL.get()) };
    let answer = original(time, zone);
    if answer == 0 && !time.is_null() {
        // SAFETY: it was just written through.
        unsafe { (*time).seconds += shift() };
    }
    answer
}

/// See `time(2)`.
///
/// # Safety
/// `time` is as that wants it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn time(time: *mut i64) -> i64 {
    let mut now = Time { seconds: 0, fraction: 0 };
    // SAFETY: a place of our own.
    unsafe { clock_gettime(0, &raw mut now) };
    debug_assert!(now.fraction >= 0);
    if !time.is_null() {
        // SAFETY: the caller says that it may be written to.
        unsafe { *time = now.seconds };
    }
    now.seconds
}

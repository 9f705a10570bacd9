//! Counters of the compiler's source-based coverage, read inside the process: which regions a run went through.
//! Present only with the feature `coverage`, which wants code built with `-C instrument-coverage`.

/// Clears the counters before a run.
pub fn reset() {
    #[cfg(feature = "coverage")]
    counters::all().fill(0);
}

/// Adds a feature per region reached, told apart by order of magnitude of its count.
pub fn add(features: &mut Vec<u64>) {
    #[cfg(feature = "coverage")]
    for (at, count) in counters::all().iter().enumerate().filter(|(_, count)| **count != 0) {
        features.push((at as u64) << 8 | u64::from(count.min(&255).ilog2()));
    }
    let _ = features;
}

#[cfg(feature = "coverage")]
mod counters {
    unsafe extern "C" {
        fn __llvm_profile_begin_counters() -> *mut u64;
        fn __llvm_profile_end_counters() -> *mut u64;
    }

    /// The counters of all instrumented code in this binary.
    pub fn all() -> &'static mut [u64] {
        // SAFETY: the profile runtime names the two ends of one section of 64-bit counters that lives as long
        // as the process; instrumented code writes to them from this thread only while a target runs, and
        // nobody keeps the slice across a run.
        unsafe {
            let (begin, end) = (__llvm_profile_begin_counters(), __llvm_profile_end_counters());
            std::slice::from_raw_parts_mut(begin, end.offset_from(begin) as usize)
        }
    }
}

//! Memory that will soon be needed.
//!
//! Applying events is waiting for memory, one line per name, and what is waited for one by one takes twice as long as what is
//! asked for ahead. Ordinary reads cannot do that: the processor has to keep each until it is through, and is full after some ten.
//! The instruction for it has no safe form, so this is the one place in the crate that is not checked by the compiler.

/// Begins to bring the cache line where `value` begins into the cache, for writing or reading, without waiting for it. Nothing
/// else happens, on processors without such an instruction nothing at all.
#[inline(always)]
#[expect(unsafe_code, reason = "the intrinsic takes a pointer")]
pub(super) fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which may be given any address and reads nothing that anybody could see; this one is a reference's besides.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

#[cfg(test)]
mod tests {
    use super::prefetch;

    #[test]
    fn leaves_everything_as_it_is() {
        let values: Vec<u64> = (0..1000).collect();
        values.iter().for_each(prefetch);
        prefetch(&[0u8; 0]);
        assert!(values.into_iter().eq(0..1000));
    }
}

//! Loops compiled for the vector registers that this processor has.

/// Defines functions whose body is compiled twice: for AVX2 with FMA, chosen at run time, and for
/// any processor. The operations and their order are those written down, so both give the same
/// bits.
macro_rules! vectorised {
    ($(
        $(#[$meta:meta])*
        $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?
        $body:block
    )*) => {$(
        $(#[$meta])*
        $visibility fn $name($($argument: $type),*) $(-> $result)? {
            // A version has closures of its own: the compiler inlines what is called once.
            #[inline(always)]
            fn body<const WIDE: bool>($($argument: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn wide($($argument: $type),*) $(-> $result)? {
                    body::<true>($($argument),*)
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: the processor has both features, as was just found out.
                    return unsafe { wide($($argument),*) };
                }
            }
            body::<false>($($argument),*)
        }
    )*};
}

pub(crate) use vectorised;

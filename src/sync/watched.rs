//! Atomics that tell of every access before they make it: the models narrate them and weaken their orderings, the fuzzer
//! gives the turn to another thread. Same names, same layout, same calls as those inside.
//!
//! The module that expands these macros has `inner`, whose atomics do the work, and three functions that are told of each
//! access from the place in the engine where it stands: `begin`, `adjust` (which returns the ordering to use) and `end`.

/// Defines wrappers of the integers, of `AtomicBool` and of `AtomicPtr`. `const` in brackets if theirs are.
macro_rules! watched {
    (@type [$($const:tt)?] $name:ident, $value:ty, [$($T:ident)?]) => {
        #[doc = concat!("A watched `", stringify!($name), "`.")]
        #[repr(transparent)]
        #[derive(Debug)]
        pub(crate) struct $name $(<$T>)? (inner::$name $(<$T>)?);

        #[allow(dead_code)]
        impl $(<$T>)? $name $(<$T>)? {
            #[track_caller]
            pub(crate) $($const)? fn new(value: $value) -> Self {
                Self(inner::$name::new(value))
            }
        }
    };

    (@access $name:ident, $value:ty, [$($T:ident)?], $word:expr, $($fetch:ident)*) => {
        #[allow(dead_code)]
        impl $(<$T>)? $name $(<$T>)? {
            #[track_caller]
            #[inline]
            pub(crate) fn load(&self, order: Ordering) -> $value {
                begin();
                let value = self.0.load(adjust(order, 0));
                end("load", order, Some(Ok(($word)(value))));
                value
            }

            #[track_caller]
            #[inline]
            pub(crate) fn store(&self, value: $value, order: Ordering) {
                begin();
                self.0.store(value, adjust(order, 0));
                end("store", order, Some(Ok(($word)(value))));
            }

            #[track_caller]
            #[inline]
            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                begin();
                let old = self.0.swap(value, adjust(order, 0));
                end("swap", order, Some(Ok(($word)(old))));
                old
            }

            #[track_caller]
            #[inline]
            pub(crate) fn compare_exchange(
                &self,
                old: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                begin();
                let result = self.0.compare_exchange(old, new, adjust(success, 0), adjust(failure, 1));
                end("compare_exchange", success, Some(result.map($word).map_err($word)));
                result
            }

            $(
                #[track_caller]
                #[inline]
                pub(crate) fn $fetch(&self, value: $value, order: Ordering) -> $value {
                    begin();
                    let old = self.0.$fetch(value, adjust(order, 0));
                    end(stringify!($fetch), order, Some(Ok(($word)(old))));
                    old
                }
            )*
        }
    };

    ($const:tt $($integer:ident: $value:ty,)*) => {
        $(
            $crate::sync::watched!(@type $const $integer, $value, []);
            $crate::sync::watched!(@access $integer, $value, [], |value: $value| value as u64,
                fetch_add fetch_sub fetch_and fetch_or fetch_max);

            impl Default for $integer {
                fn default() -> Self {
                    Self::new(0)
                }
            }
        )*
        $crate::sync::watched!(@type $const AtomicBool, bool, []);
        $crate::sync::watched!(@access AtomicBool, bool, [], |value: bool| u64::from(value), fetch_and fetch_or);
        $crate::sync::watched!(@type $const AtomicPtr, *mut T, [T]);
        $crate::sync::watched!(@access AtomicPtr, *mut T, [T], |value: *mut T| value.addr() as u64,);
    };
}

pub(crate) use watched;

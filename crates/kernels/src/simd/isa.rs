//! Which instruction sets there are, which the processor has, and how a kernel is entered.

use std::cell::Cell;
use std::fmt;
use std::sync::OnceLock;

use super::{Scalar, Simd};

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust, 8 lanes: every machine, and the reference in tests.
    Scalar,
    /// aarch64, 4 lanes.
    Neon,
    /// x86-64 with AVX2, FMA and F16C, 8 lanes.
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ, VL (and AVX2, FMA, F16C), 16 lanes.
    Avx512,
    /// The same with AMX int8 tiles, which only products with many rows use.
    Amx,
}

/// A computation that is generic over the instruction set.
pub trait Kernel {
    /// What it computes.
    type Output;

    /// Computes it. Implementations must be `#[inline(always)]`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

thread_local! {
    static SCOPED: Cell<Option<Isa>> = const { Cell::new(None) };
}

impl Isa {
    /// Every instruction set, on this machine or not; the later ones are the faster ones.
    pub const ALL: [Self; 5] = [Self::Scalar, Self::Neon, Self::Avx2, Self::Avx512, Self::Amx];

    /// The set that kernels started from this thread use.
    ///
    /// That is the one of the innermost [`Isa::scope`], else the one named by the environment variable `SAEM_ISA`
    /// (`scalar`, `neon`, `avx2`, `avx512`, `amx`) where the machine has it, else the best that the machine has.
    #[inline]
    #[must_use]
    pub fn detect() -> Self {
        SCOPED.get().unwrap_or_else(|| machine().chosen)
    }

    /// The sets that this machine has, the slowest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// Whether this machine has it.
    #[inline]
    #[must_use]
    pub fn is_available(self) -> bool {
        machine().present[self as usize]
    }

    /// Runs `body` with [`Isa::detect`] answering `self` on this thread (or the usual set where the machine lacks it).
    pub fn scope<T>(self, body: impl FnOnce() -> T) -> T {
        struct Restore(Option<Isa>);
        impl Drop for Restore {
            fn drop(&mut self) {
                SCOPED.set(self.0);
            }
        }
        let _restore = Restore(SCOPED.get());
        if self.is_available() {
            SCOPED.set(Some(self));
        }
        body()
    }

    /// Runs `kernel` with this instruction set, or with [`Isa::Scalar`] where the machine lacks it.
    #[inline]
    pub fn dispatch<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 | Self::Amx if self.is_available() => {
                // SAFETY: the processor has the features of the token and of the entry function.
                unsafe { x86::enter_avx512(super::Avx512::new(), kernel) }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 if self.is_available() => {
                // SAFETY: the processor has the features of the token and of the entry function.
                unsafe { x86::enter_avx2(super::Avx2::new(), kernel) }
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon if self.is_available() => {
                // SAFETY: the processor has the features of the token.
                kernel.run(unsafe { super::Neon::new() })
            }
            _ => kernel.run(Scalar::new()),
        }
    }

    /// Lower-case name, as in `SAEM_ISA`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Kernel;
    use crate::simd::{Avx2, Avx512};

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi1,bmi2,popcnt")]
    pub(super) fn enter_avx512<K: Kernel>(token: Avx512, kernel: K) -> K::Output {
        kernel.run(token)
    }

    #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,popcnt")]
    pub(super) fn enter_avx2<K: Kernel>(token: Avx2, kernel: K) -> K::Output {
        kernel.run(token)
    }
}

struct Machine {
    /// By `Isa as usize`.
    present: [bool; 5],
    chosen: Isa,
}

#[inline]
fn machine() -> &'static Machine {
    static MACHINE: OnceLock<Machine> = OnceLock::new();
    MACHINE.get_or_init(|| {
        let present = Isa::ALL.map(has);
        let is_present = |isa: &Isa| present[*isa as usize];
        let named = std::env::var("SAEM_ISA").ok();
        let named = Isa::ALL.into_iter().find(|isa| named.as_deref() == Some(isa.name())).filter(is_present);
        let best = Isa::ALL.into_iter().rev().find(is_present);
        Machine { present, chosen: named.or(best).unwrap_or(Isa::Scalar) }
    })
}

fn has(isa: Isa) -> bool {
    match isa {
        Isa::Scalar => true,
        Isa::Neon => cfg!(target_arch = "aarch64"),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => {
            std::is_x86_feature_detected!("avx2")
                && std::is_x86_feature_detected!("fma")
                && std::is_x86_feature_detected!("f16c")
                && std::is_x86_feature_detected!("bmi1")
                && std::is_x86_feature_detected!("bmi2")
                && std::is_x86_feature_detected!("popcnt")
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => {
            has(Isa::Avx2)
                && std::is_x86_feature_detected!("avx512f")
                && std::is_x86_feature_detected!("avx512bw")
                && std::is_x86_feature_detected!("avx512dq")
                && std::is_x86_feature_detected!("avx512vl")
        }
        #[cfg(target_arch = "x86_64")]
        Isa::Amx => has(Isa::Avx512) && super::amx::is_available(),
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx2 | Isa::Avx512 | Isa::Amx => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_ends_with_its_body_even_by_a_panic() {
        let usual = Isa::detect();
        Isa::Scalar.scope(|| assert_eq!(Isa::detect(), Isa::Scalar));
        let result = std::panic::catch_unwind(|| Isa::Scalar.scope(|| panic!("on purpose")));
        assert!(result.is_err());
        assert_eq!(Isa::detect(), usual);
    }

    #[test]
    fn a_set_that_the_machine_lacks_runs_as_scalar() {
        struct Which;
        impl Kernel for Which {
            type Output = Isa;
            #[inline(always)]
            fn run<S: Simd>(self, _simd: S) -> Isa {
                S::ISA
            }
        }
        for isa in Isa::ALL {
            let expected = match isa {
                Isa::Amx if isa.is_available() => Isa::Avx512,
                _ if isa.is_available() => isa,
                _ => Isa::Scalar,
            };
            assert_eq!(isa.dispatch(Which), expected);
        }
    }
}

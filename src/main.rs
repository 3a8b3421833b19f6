//! The command line's entry: parse, do, print, exit code. Everything else is in the library.

use std::io::Write;
use std::process::ExitCode;

use quipu::args::{self, Run};
use quipu::{check, node};

fn main() -> ExitCode {
    let missing = missing_cpu_features();
    if !missing.is_empty() {
        return fail(&format!(
            "this quipu was built for x86-64-v3 and this CPU lacks {}. Build it for this machine with \
             RUSTFLAGS='-C target-cpu=native' cargo build --release",
            missing.join(", ")
        ));
    }
    let run = match args::parse(std::env::args_os()) {
        Ok(run) => run,
        Err(usage) => {
            // Help and version are "errors" too; when the terminal is gone there is nobody to tell.
            drop(usage.print());
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    let outcome = match run {
        Run::Serve(serve) => node::run(&serve),
        Run::CheckConfig(file) => check::config(&file).and_then(|report| say(&report)),
        Run::Version => say(concat!("quipu ", env!("CARGO_PKG_VERSION"), "\n")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

fn say(text: &str) -> quipu::error::Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn fail(message: &str) -> ExitCode {
    // When standard error is closed there is nobody to tell.
    drop(writeln!(std::io::stderr(), "quipu: {message}"));
    ExitCode::FAILURE
}

/// What the build relies on and the CPU does not have. Asks the CPU itself: the standard library's macro
/// answers "yes" at compile time for everything that the build was allowed to use.
#[cfg(all(target_arch = "x86_64", target_feature = "avx2"))]
fn missing_cpu_features() -> Vec<&'static str> {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    let basic = __cpuid(1).ecx;
    let extended = if __cpuid(0).eax >= 7 { __cpuid_count(7, 0).ebx } else { 0 };
    let features = [
        ("fma", basic & 1 << 12),
        ("movbe", basic & 1 << 22),
        ("avx", basic & 1 << 28),
        ("f16c", basic & 1 << 29),
        ("bmi1", extended & 1 << 3),
        ("avx2", extended & 1 << 5),
        ("bmi2", extended & 1 << 8),
    ];
    features.into_iter().filter(|(_, bit)| *bit == 0).map(|(name, _)| name).collect()
}

#[cfg(not(all(target_arch = "x86_64", target_feature = "avx2")))]
fn missing_cpu_features() -> Vec<&'static str> {
    Vec::new()
}

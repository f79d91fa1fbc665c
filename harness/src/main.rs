//! `stormbed`: starts the topology, breaks it from scenario files, and judges what it saw. The code is the library
//! `stormbed_harness`.

#[tokio::main]
async fn main() -> std::process::ExitCode {
    stormbed_harness::cli::main().await
}

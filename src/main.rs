//! The command `perdura`.

fn main() -> std::process::ExitCode {
    perdura::cli::main()
}

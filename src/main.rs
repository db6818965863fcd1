//! The program.

use std::process::ExitCode;

fn main() -> ExitCode {
    daybook::main()
}

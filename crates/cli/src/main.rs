//! The sinew binary. It has no commands yet, and says so instead of seeming to succeed.

use std::io::Write as _;

fn main() -> std::process::ExitCode {
    // Where stderr is closed there is nobody to tell, and the exit code still says it.
    writeln!(std::io::stderr(), "sinew: no command is built yet").ok();
    std::process::ExitCode::FAILURE
}

//! Programs in Python. Their clients are those of `tools/install-python-clients`.

use std::{ffi::OsString, path::PathBuf};

use crate::{Script, install};

/// Makes scripts of programs in Python.
#[derive(Debug, Clone, Copy)]
pub struct Python;

impl Python {
    /// A program in a file; a relative path counts from the root of the checkout.
    ///
    /// # Panics
    /// When the clients are not installed, with what to run.
    pub fn script(path: impl Into<PathBuf>) -> Script {
        Self::with(vec![install::workspace_root().join(path.into()).into()])
    }

    /// A few lines of code.
    ///
    /// # Panics
    /// When the clients are not installed, with what to run.
    pub fn code(text: &str) -> Script {
        Self::with(vec!["-c".into(), text.into()])
    }

    fn with(program: Vec<OsString>) -> Script {
        Script::new("python3", program)
            .env("PYTHONPATH", install::python_clients())
            .env("PYTHONUNBUFFERED", "1")
    }
}

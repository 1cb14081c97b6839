//! Programs in JavaScript. They are run by the Node of `tools/install-node`, and their packages are those
//! of `tools/install-mcp-clients`.

use std::path::PathBuf;

use crate::{Script, install};

/// Makes scripts of programs in JavaScript.
#[derive(Debug, Clone, Copy)]
pub struct Node;

impl Node {
    /// A program in a file; a relative path counts from the root of the checkout. It finds the
    /// packages by `require`.
    ///
    /// # Panics
    /// When Node or the packages are not installed, with what to run.
    pub fn script(path: impl Into<PathBuf>) -> Script {
        let file = install::workspace_root().join(path.into());
        Script::new(install::node(), vec![file.into()]).env("NODE_PATH", install::node_clients())
    }
}

//! Writes the wire contract to `docs/schemas`: `cargo run -p sinew-model --example schemas`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schemas");
    std::fs::create_dir_all(&folder)?;
    for (name, text) in sinew_model::schema::files()? {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}

//! The style, the script and the icon: part of the program, so that the dashboard needs nothing
//! from elsewhere. Their addresses carry a hash, so a browser keeps them until they change.

use std::sync::OnceLock;

use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use sha2::{Digest as _, Sha256};

/// Name, kind and content. `idiomorph.js` is by its makers (0BSD), unchanged.
const ASSETS: [(&str, &str, &str); 4] = [
    ("dashboard.css", "text/css; charset=utf-8", include_str!("assets/dashboard.css")),
    ("dashboard.js", "text/javascript; charset=utf-8", include_str!("assets/dashboard.js")),
    ("idiomorph.js", "text/javascript; charset=utf-8", include_str!("assets/idiomorph.min.js")),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// Bytes of the hash that are in an address.
const HASH: usize = 6;

/// What tells these assets from those of another version.
pub(super) fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let mut all = Sha256::new();
        for (_, _, content) in ASSETS {
            all.update(content);
        }
        let hash = all.finalize();
        data_encoding::HEXLOWER.encode(hash.get(..HASH).unwrap_or_default())
    })
}

/// The address of one of them.
pub(super) fn address(name: &str) -> String {
    format!("/assets/{name}?v={}", version())
}

/// Gives one of them. They are the same for everybody.
pub(super) async fn serve(Path(name): Path<String>) -> Response {
    match ASSETS.iter().find(|(known, _, _)| *known == name) {
        Some((_, kind, content)) => {
            let headers = [
                (header::CONTENT_TYPE, *kind),
                (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            ];
            (headers, *content).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

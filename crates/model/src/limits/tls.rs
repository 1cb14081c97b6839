//! Bounds of the certificates that `sinew up --tls` makes, in days.

/// How long the certificate authority of a data folder is valid: ten years, so that the file that
/// clients were given need not be given again.
pub const TLS_AUTHORITY_DAYS: i64 = 3_650;

/// How long the certificates that it signs are valid: somewhat more than a year, which is the most
/// that some clients accept.
pub const TLS_CERTIFICATE_DAYS: i64 = 397;

/// A certificate that has no more than this left is made anew at the next start.
pub const TLS_RENEW_DAYS: i64 = 90;

//! Bounds of the metrics.

/// Roles that are named in a metric. Whoever may delegate may make up a role, and each name is a
/// series that Prometheus keeps for as long as it keeps anything; the rest is counted together.
pub const METRIC_ROLES: usize = 200;

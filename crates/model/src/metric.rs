//! What may be named in a metric: few roles, however many there are.

use std::collections::{BTreeMap, BTreeSet};

/// The label of all roles that are not named. No role can have this name.
pub const OTHERS: &str = "_others";

/// The label of what names no role, such as a message that can't be read. No role can have it.
pub const NOBODY: &str = "_none";

/// The roles that are named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named<'a>(BTreeSet<&'a str>);

impl<'a> Named<'a> {
    /// The `most` roles with the largest totals; of two that are equal, the first by name.
    #[must_use]
    pub fn of(totals: &BTreeMap<&'a str, u64>, most: usize) -> Self {
        let mut ranked: Vec<_> = totals.iter().map(|(role, total)| (*role, *total)).collect();
        ranked.sort_by(|(a, of_a), (b, of_b)| of_b.cmp(of_a).then(a.cmp(b)));
        Self(ranked.into_iter().take(most).map(|(role, _)| role).collect())
    }

    /// What stands in the label for a role.
    #[must_use]
    pub fn label(&self, role: Option<&'a str>) -> &'a str {
        match role {
            Some(role) if self.0.contains(role) => role,
            Some(_) => OTHERS,
            None => NOBODY,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Role;

    #[test]
    fn the_largest_are_named_and_the_rest_is_together() {
        let totals = BTreeMap::from([("cto", 5), ("ceo", 1), ("dev", 5), ("ops", 2)]);
        let named = Named::of(&totals, 2);
        assert_eq!(named.label(Some("cto")), "cto");
        assert_eq!(named.label(Some("dev")), "dev");
        assert_eq!(named.label(Some("ops")), OTHERS);
        assert_eq!(named.label(Some("unheard")), OTHERS);
        assert_eq!(named.label(None), NOBODY);
    }

    #[test]
    fn no_role_can_have_the_name_of_a_label() {
        for label in [OTHERS, NOBODY] {
            assert!(label.parse::<Role>().is_err(), "{label}");
        }
    }

    proptest! {
        #[test]
        fn there_are_never_more_labels_than_bounded(
            totals in prop::collection::btree_map("[a-z]{1,4}", 0_u64..9, 0..40), most in 0_usize..20,
        ) {
            let totals: BTreeMap<&str, u64> =
                totals.iter().map(|(role, total)| (role.as_str(), *total)).collect();
            let named = Named::of(&totals, most);
            let labels: BTreeSet<&str> =
                totals.keys().map(|role| named.label(Some(role))).collect();
            prop_assert!(labels.len() <= most + 1);
            let least = totals.iter().filter(|(it, _)| named.label(Some(it)) != OTHERS).map(|it| it.1).min();
            let left = totals.iter().filter(|(it, _)| named.label(Some(it)) == OTHERS).map(|it| it.1).max();
            if let (Some(least), Some(left)) = (least, left) {
                prop_assert!(least >= left);
            }
        }
    }
}

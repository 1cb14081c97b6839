//! What a run is asked for, as words of the command line.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde::Serialize;

use crate::plan::Kind;

/// How to call it.
pub(crate) const USAGE: &str = "\
usage: sinew-chaos [options]
  --seed N          makes the plan; the same seed, the same plan (1)
  --tasks N         tasks that are delegated, besides the children of these (500)
  --faults N        faults that strike (20)
  --nodes N         servers: 1, 3 or 5 (1)
  --durability D    always or interval: whether a server makes durable before it answers (always)
  --store S         disk, or a store that loses at a power cut what was not made durable:
                    journaled (as ext4 or xfs) or strict (as POSIX allows) (disk)
  --kinds K,K       the kinds of faults (all that fit)
  --ways W          all, or straight: no task asks, waits, needs a verdict or is called off (all)
  --agents N        agents of each of the two roles (3)
  --json FILE       write the report there, too, as JSON
  --keep FOLDER     keep the ledger and the logs of the run there";

/// Whether a server makes durable before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Durability {
    /// It does.
    Always,
    /// It does every two minutes.
    Interval,
}

/// What a server stores on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum StoreKind {
    /// The disk of this machine.
    Disk,
    /// A store whose power can be cut; entries of folders become durable in the order in which
    /// they were made, with whatever is made durable next.
    Journaled,
    /// The same, where an entry of a folder is durable only when the folder itself was made so.
    Strict,
}

/// What a run is asked for.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Options {
    pub(crate) seed: u64,
    pub(crate) tasks: u64,
    pub(crate) faults: u64,
    pub(crate) nodes: usize,
    pub(crate) durability: Durability,
    pub(crate) store: StoreKind,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) agents: usize,
    /// Whether tasks do nothing besides their work.
    pub(crate) straight: bool,
    #[serde(skip)]
    pub(crate) json: Option<PathBuf>,
    #[serde(skip)]
    pub(crate) keep: Option<PathBuf>,
}

impl Options {
    /// Reads the words.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn parse(words: &[String]) -> anyhow::Result<Self> {
        let mut options = Self {
            seed: 1,
            tasks: 500,
            faults: 20,
            nodes: 1,
            durability: Durability::Always,
            store: StoreKind::Disk,
            kinds: Vec::new(),
            agents: 3,
            straight: false,
            json: None,
            keep: None,
        };
        for pair in words.chunks(2) {
            let [name, value] = pair else { bail!("{} needs a value", pair.join(" ")) };
            options.set(name, value).with_context(|| format!("{name} {value}"))?;
        }
        let lossy = options.store != StoreKind::Disk;
        let fits = |kind: &Kind| kind.fits(options.nodes, lossy);
        if options.kinds.is_empty() {
            options.kinds = Kind::ALL.into_iter().filter(fits).collect();
        } else if let Some(kind) = options.kinds.iter().find(|kind| !fits(kind)) {
            bail!("{} cannot strike on such servers and stores", kind.word());
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: &str) -> anyhow::Result<()> {
        match name {
            "--seed" => self.seed = value.parse()?,
            "--tasks" => self.tasks = value.parse()?,
            "--faults" => self.faults = value.parse()?,
            "--nodes" => self.nodes = one_of(value, &[("1", 1), ("3", 3), ("5", 5)])?,
            "--agents" => self.agents = value.parse()?,
            "--ways" => self.straight = one_of(value, &[("all", false), ("straight", true)])?,
            "--durability" => {
                let known = [("always", Durability::Always), ("interval", Durability::Interval)];
                self.durability = one_of(value, &known)?;
            }
            "--store" => {
                let known = [
                    ("disk", StoreKind::Disk),
                    ("journaled", StoreKind::Journaled),
                    ("strict", StoreKind::Strict),
                ];
                self.store = one_of(value, &known)?;
            }
            "--kinds" => {
                let known: Vec<_> = Kind::ALL.iter().map(|kind| (kind.word(), *kind)).collect();
                self.kinds =
                    value.split(',').map(|word| one_of(word, &known)).collect::<Result<_, _>>()?;
            }
            "--json" => self.json = Some(value.into()),
            "--keep" => self.keep = Some(value.into()),
            _ => bail!("there is no such option"),
        }
        Ok(())
    }
}

fn one_of<T: Copy>(word: &str, known: &[(&str, T)]) -> anyhow::Result<T> {
    let found = known.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
    let names = || known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    found.with_context(|| format!("{word:?} is none of {}", names()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Options> {
        Options::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn kinds_are_those_that_fit() {
        assert_eq!(parse("--nodes 3 --store strict").unwrap().kinds.len(), Kind::ALL.len());
        assert!(!parse("").unwrap().kinds.contains(&Kind::WipeNode));
        assert_eq!(parse("--kinds kill-agent").unwrap().kinds, [Kind::KillAgent]);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in ["--kinds wipe-node", "--seed", "--seed x", "--nodes 2", "--frobnicate 1"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

//! Everything that a run can strike, and how each fault strikes it. A fault begins, lasts, and
//! ends here. Before the next one begins, every server has been seen to hold what the leaders hold,
//! so a minority of the servers is impaired at a time.

use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use sinew_bus::clock;
use sinew_model::Time;
use tokio::runtime::Handle;

use crate::{
    actor::{Actor, Home, Links},
    alike::Alike,
    backbone::Backbone,
    options::Options,
    plan::{Fault, Kind},
    work::{Part, ROLES},
};

/// How much later a slow link delivers, each way.
const SLOW: Duration = Duration::from_millis(80);

/// Processes with controllers.
const CONTROLLERS: usize = 2;

/// Those who delegate.
pub(crate) const DELEGATORS: usize = 3;

/// What a run can strike.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) backbone: Backbone,
    pub(crate) agents: Vec<Actor>,
    pub(crate) controllers: Vec<Actor>,
    /// The links of those who delegate; they live in this process, and are not struck themselves.
    pub(crate) delegators: Vec<Links>,
    /// How many agents were replaced.
    replaced: u32,
}

/// A fault that struck.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Struck {
    pub(crate) kind: Kind,
    /// Whom.
    pub(crate) victim: String,
    /// When.
    pub(crate) at: Time,
    /// When it was over, and the servers said that they were well.
    pub(crate) well: Time,
    /// When each of them held what the leaders held.
    pub(crate) until: Time,
    /// What they then still did not hold alike, long after.
    pub(crate) apart: Option<String>,
}

impl World {
    /// Starts all of it.
    ///
    /// # Errors
    /// When something does not start.
    pub(crate) fn start(options: &Options, home: &Home) -> anyhow::Result<Self> {
        let backbone = Backbone::start(options)?;
        let ports = backbone.ports();
        let mut controllers = Vec::new();
        for number in 0..CONTROLLERS {
            let name = format!("controllers-{number}");
            let part = Part::Controllers { views: home.dir.join(format!("views-{number}.sqlite")) };
            controllers.push(Actor::start(home, &name, Links::to(&ports), (part, false))?);
        }
        let mut agents = Vec::new();
        for number in 0..options.agents {
            for role in ROLES {
                let name = format!("{role}-{number}");
                let part = Part::Agent { role: role.parse()?, instance: name.parse()? };
                // Every second one commits by itself.
                let commit_service = number % 2 == 0;
                agents.push(Actor::start(home, &name, Links::to(&ports), (part, commit_service))?);
            }
        }
        let delegators = (0..DELEGATORS).map(|_| Links::to(&ports)).collect();
        Ok(Self { backbone, agents, controllers, delegators, replaced: 0 })
    }

    /// Lets one fault strike, last and end. Blocks.
    ///
    /// # Errors
    /// When it could not be made, or not be ended.
    pub(crate) fn strike(&mut self, fault: &Fault) -> anyhow::Result<Struck> {
        let at = clock::now();
        let victim = match fault.kind {
            Kind::KillAgent
            | Kind::LoseAgent
            | Kind::PauseAgent
            | Kind::CutAgent
            | Kind::DeafenAgent
            | Kind::SlowAgent => self.strike_agent(fault)?,
            Kind::KillController => {
                let actor = round(&mut self.controllers, fault.victim)?;
                actor.kill()?;
                hold(fault.lasts);
                actor.spawn()?;
                actor.name.clone()
            }
            Kind::CutDelegator | Kind::DeafenDelegator | Kind::SilenceDelegator => {
                self.strike_delegator(fault)?
            }
            Kind::KillServer
            | Kind::KillLeader
            | Kind::PauseServer
            | Kind::WipeNode
            | Kind::PowerCut
            | Kind::FullDisk => self.strike_server(fault)?,
        };
        let well = clock::now();
        let apart = self.backbone.wait_alike(Alike::under_load()).err();
        self.look_after()?;
        Ok(Struck { kind: fault.kind, victim, at, well, until: clock::now(), apart })
    }

    /// Starts again what ended by itself.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn look_after(&mut self) -> anyhow::Result<()> {
        self.agents.iter_mut().chain(&mut self.controllers).try_for_each(Actor::look_after)
    }

    /// How often a process ended by itself.
    pub(crate) fn exits(&self) -> u32 {
        self.agents.iter().chain(&self.controllers).map(|actor| actor.exits).sum()
    }

    fn strike_agent(&mut self, fault: &Fault) -> anyhow::Result<String> {
        let again = format!("-again{}", self.replaced);
        self.replaced += u32::from(fault.kind == Kind::LoseAgent);
        let actor = round(&mut self.agents, fault.victim)?;
        let name = actor.name.clone();
        if fault.kind.kills_an_agent() {
            actor.kill()?;
            hold(fault.lasts);
            if fault.kind == Kind::LoseAgent {
                let stem = name.split("-again").next().unwrap_or(&name);
                actor.rename(&format!("{stem}{again}"))?;
            }
            actor.spawn()?;
        } else if fault.kind == Kind::PauseAgent {
            actor.pause()?;
            hold(fault.lasts);
            actor.resume()?;
        } else {
            let links = &actor.links;
            if fault.kind == Kind::CutAgent {
                links.cut();
            } else if fault.kind == Kind::DeafenAgent {
                links.deafen();
            } else {
                links.slow(SLOW);
            }
            hold(fault.lasts);
            links.heal();
        }
        Ok(name)
    }

    fn strike_delegator(&self, fault: &Fault) -> anyhow::Result<String> {
        let place = usize::try_from(fault.victim)? % DELEGATORS;
        let links = self.delegators.get(place).context("there is no such delegator")?;
        if fault.kind == Kind::CutDelegator {
            links.cut();
            hold(fault.lasts);
        } else {
            links.deafen();
            hold(fault.lasts);
            // Its connection breaks with the answers still held up: they are lost.
            links.cut();
        }
        links.heal();
        Ok(format!("delegator-{place}"))
    }

    fn strike_server(&self, fault: &Fault) -> anyhow::Result<String> {
        let backbone = &self.backbone;
        let of_leader = fault.kind == Kind::KillLeader;
        let at =
            if of_leader { backbone.leader(fault.victim) } else { backbone.pick(fault.victim) };
        let node = backbone.node(at)?;
        if fault.kind == Kind::PauseServer {
            node.pause();
            hold(fault.lasts);
            node.resume();
        } else if fault.kind == Kind::FullDisk {
            backbone.store(at)?.set_full(true);
            hold(fault.lasts);
            backbone.store(at)?.set_full(false);
            // A write that failed stops a stream until the server starts anew.
            node.kill();
            node.restart();
        } else {
            node.kill();
            if fault.kind == Kind::WipeNode {
                backbone.wipe(at)?;
            } else if fault.kind == Kind::PowerCut {
                backbone.store(at)?.power_cut();
            }
            hold(fault.lasts);
            node.restart();
        }
        backbone.wait_ready();
        Ok(format!("server-{at}"))
    }
}

/// Lets a fault last. Only on a thread that may block.
pub(crate) fn hold(span: Duration) {
    Handle::current().block_on(clock::pause(span));
}

fn round(actors: &mut [Actor], number: u64) -> anyhow::Result<&mut Actor> {
    let place = usize::try_from(number)?.checked_rem(actors.len()).unwrap_or_default();
    actors.get_mut(place).context("there is nobody to strike")
}

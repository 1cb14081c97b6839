//! `sinew dashboard`: the link to the pages that `sinew up` serves, and who else is let in; and what
//! `up` and `server` have to do with them. A build without the feature `dashboard` has none of it.

#[cfg(feature = "dashboard")]
mod verb;

use std::path::Path;

use futures::{FutureExt as _, future::BoxFuture};
use sinew_bus::{Bus, Config};
use sinew_model::OrgId;
use sinew_server::context::{Context, Secret};
use sinew_views::Store;
use tokio_util::sync::CancellationToken;

#[cfg(feature = "dashboard")]
pub(crate) use verb::{Args, run};
#[cfg(feature = "dashboard")]
use {
    crate::{
        exit::{Code, Fault},
        view,
    },
    anyhow::Context as _,
    sinew_server::{
        face::dashboard::{DashboardError, Home, House, Reach, Server, last_port, operators},
        token::Tokens,
    },
    std::net::SocketAddr,
};

/// Where the dashboard is.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Where {
    /// Where the dashboard is, for browsers; `off` for nowhere. Else it is on this machine only: on
    /// the port of the last time, or the first free one from 4270
    #[cfg(feature = "dashboard")]
    #[arg(long, value_name = "ADDRESS:PORT|off", value_parser = place)]
    dashboard: Option<Place>,
}

/// Where somebody wants it.
#[cfg(feature = "dashboard")]
#[derive(Clone, Copy, Debug)]
enum Place {
    Off,
    At(SocketAddr),
}

#[cfg(feature = "dashboard")]
fn place(text: &str) -> Result<Place, String> {
    if text == "off" {
        return Ok(Place::Off);
    }
    let no = |_| "it is ADDRESS:PORT, as 127.0.0.1:4270, or off".to_owned();
    text.parse().map(Place::At).map_err(no)
}

/// The dashboard of a server, before and while it is served.
#[derive(Debug, Default)]
pub(crate) struct Pages {
    #[cfg(feature = "dashboard")]
    bound: Option<(Server, Secret)>,
}

/// How visitors get into the orgs.
#[derive(Debug)]
pub(crate) enum Way {
    /// By the keys of a data folder.
    Folder(Box<Context>),
    /// By the login of the server itself.
    Login(Box<Config>),
}

/// What the server of an org has open already.
#[derive(Debug)]
pub(crate) struct Open<'a> {
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    pub(crate) data_dir: &'a Path,
    pub(crate) way: Way,
}

impl Pages {
    /// The link by which the operator enters.
    pub(crate) fn link(&self) -> Option<&Secret> {
        #[cfg(feature = "dashboard")]
        return self.bound.as_ref().map(|(_, link)| link);
        #[cfg(not(feature = "dashboard"))]
        None
    }
}

#[cfg(feature = "dashboard")]
impl Where {
    /// Listens where it was told to, and makes the operator's link.
    ///
    /// # Errors
    /// When nothing can listen there, or nobody can be let in.
    pub(crate) async fn bind(&self, data_dir: &Path, org: &OrgId) -> anyhow::Result<Pages> {
        let server = match self.dashboard {
            Some(Place::Off) => return Ok(Pages::default()),
            Some(Place::At(at)) => Server::bind(at).await,
            None => Server::bind_near(last_port(data_dir)).await,
        };
        let server = server.map_err(|error| match &error {
            DashboardError::Bind { source, .. } => {
                Fault::new(Code::Refused, format!("{error}: {source}"))
                    .hint("name another --dashboard ADDRESS:PORT, or `off`")
                    .into()
            }
            DashboardError::Views(_) | DashboardError::Name(_) | DashboardError::Serve(_) | _ => {
                anyhow::Error::from(error)
            }
        })?;
        let link = operators(data_dir, org, &server.url()).context("the dashboard")?;
        Ok(Pages { bound: Some((server, link)) })
    }
}

#[cfg(feature = "dashboard")]
impl Pages {
    /// What serves it until `stop`.
    ///
    /// # Errors
    /// When its views can't be opened.
    pub(crate) async fn open(
        self,
        open: Open<'_>,
        stop: CancellationToken,
    ) -> anyhow::Result<BoxFuture<'static, anyhow::Result<()>>> {
        let Open { bus, store, data_dir, way } = open;
        let Some((server, _)) = self.bound else { return Ok(nothing(stop)) };
        let reach = match way {
            Way::Folder(context) => Reach::Folder(context),
            Way::Login(config) => Reach::Login(config),
        };
        let events = view::events_in(data_dir);
        let tokens = Tokens::of_dashboard(data_dir);
        let house = House::open(Home { bus, store, events }, reach, tokens).await?;
        Ok(async move { Ok(server.run(house, stop).await?) }.boxed())
    }
}

#[cfg(not(feature = "dashboard"))]
impl Where {
    /// There is none.
    ///
    /// # Errors
    /// Never.
    pub(crate) async fn bind(&self, _: &Path, _: &OrgId) -> anyhow::Result<Pages> {
        std::future::ready(Ok(Pages::default())).await
    }
}

#[cfg(not(feature = "dashboard"))]
impl Pages {
    /// What waits for `stop`.
    ///
    /// # Errors
    /// Never.
    pub(crate) async fn open(
        self,
        open: Open<'_>,
        stop: CancellationToken,
    ) -> anyhow::Result<BoxFuture<'static, anyhow::Result<()>>> {
        drop(open);
        std::future::ready(Ok(nothing(stop))).await
    }
}

/// Where there is no dashboard: nothing, until `stop`.
fn nothing(stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
    async move {
        stop.cancelled().await;
        Ok(())
    }
    .boxed()
}

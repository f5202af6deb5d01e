//! Servers in containers, where the feature `docker` is on.

use crate::ports::chance;
use anyhow::{Context, Result, anyhow};
use std::{
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread::JoinHandle,
    time::Duration,
};
use testcontainers::{
    ContainerAsync, ContainerRequest, GenericImage, ImageExt,
    bollard::models::PortBinding,
    core::{IntoContainerPort, WaitFor},
    runners::AsyncRunner,
};

/// How long a container may take, the pull of its image included.
const START_MAX: Duration = Duration::from_secs(300);

/// What is started.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// `name:tag`.
    pub(crate) image: String,
    /// The server's port inside.
    pub(crate) port: u16,
    pub(crate) environment: &'static [(&'static str, &'static str)],
    /// What the image's entry point is given.
    pub(crate) args: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// SIGTERM, and SIGKILL at once after it: the engine's interface has no other.
    Kill,
    /// SIGTERM, and SIGKILL after a minute.
    Stop,
    Start,
    Pause,
    Resume,
    /// Answers `true` or `false`.
    IsRunning,
    /// Answers with the last lines of its output.
    LastWords,
}

type Answer = Result<String>;

/// A container; removed when dropped, or when this process ends in any way.
#[derive(Debug)]
pub(crate) struct Container {
    orders: Option<mpsc::Sender<(Order, mpsc::Sender<Answer>)>>,
    keeper: Option<JoinHandle<()>>,
    guard: Option<Child>,
}

impl Container {
    /// Starts it with its port at this one of 127.0.0.1. Its server need not be ready.
    pub(crate) async fn start(recipe: Recipe, host_port: u16) -> Result<Self> {
        let name = format!("guafen-test-{:016x}", chance());
        let guard = guard(&name);
        let (orders, ordered) = mpsc::channel();
        let (started, starting) = tokio::sync::oneshot::channel();
        // The engine's client belongs to a runtime, and a test's may end before the server does.
        let keeper = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(keep(recipe, name, host_port, started, ordered)),
                Err(error) => drop(started.send(Err(error.into()))),
            }
        });
        let container = Self {
            orders: Some(orders),
            keeper: Some(keeper),
            guard,
        };
        starting
            .await
            .context("the container's keeper ended")?
            .context("Docker cannot start the container")?;
        Ok(container)
    }

    /// Carries out an order and waits until it is done: some milliseconds.
    pub(crate) fn order(&self, order: Order) -> Answer {
        let (answer, answered) = mpsc::channel();
        let sent = self
            .orders
            .as_ref()
            .is_some_and(|orders| orders.send((order, answer)).is_ok());
        let answer = sent.then(|| answered.recv().ok()).flatten();
        answer.unwrap_or_else(|| Err(anyhow!("the container is gone")))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
        if let Some(mut guard) = self.guard.take() {
            drop(guard.stdin.take());
            let _ = guard.wait();
        }
    }
}

/// Removes the container when its input ends, which comes when our process ends in any way. None
/// without the command line of Docker: then a killed test leaves its container.
fn guard(name: &str) -> Option<Child> {
    Command::new("sh")
        .args([
            "-c",
            "cat >/dev/null; docker rm --force --volumes \"$0\"",
            name,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C on the terminal is for us; the shell hears of it by our end.
        .process_group(0)
        .spawn()
        .ok()
}

fn request(recipe: &Recipe, name: &str, host_port: u16) -> ContainerRequest<GenericImage> {
    let (image, tag) = match recipe.image.rsplit_once(':') {
        // A colon before a slash belongs to the registry's port.
        Some((image, tag)) if !tag.contains('/') => (image, tag),
        _ => (recipe.image.as_str(), "latest"),
    };
    let port = recipe.port.tcp();
    let published = (
        format!("{port}"),
        Some(vec![PortBinding {
            host_ip: Some("127.0.0.1".to_owned()),
            host_port: Some(host_port.to_string()),
        }]),
    );
    let mut request = GenericImage::new(image, tag)
        .with_exposed_port(port)
        // Readiness is asked of the server itself.
        .with_wait_for(WaitFor::Nothing)
        .with_container_name(name)
        .with_startup_timeout(START_MAX)
        .with_cmd(recipe.args.clone())
        .with_host_config_modifier(move |config| {
            // The default publishes on every interface.
            config.publish_all_ports = Some(false);
            config.port_bindings = Some([published.clone()].into());
        });
    for (variable, value) in recipe.environment {
        request = request.with_env_var(*variable, *value);
    }
    request
}

async fn keep(
    recipe: Recipe,
    name: String,
    host_port: u16,
    started: tokio::sync::oneshot::Sender<Result<()>>,
    ordered: mpsc::Receiver<(Order, mpsc::Sender<Answer>)>,
) {
    let container = match request(&recipe, &name, host_port).start().await {
        Ok(container) => container,
        Err(error) => return drop(started.send(Err(error.into()))),
    };
    // A caller that has given up drops the orders too.
    let _ = started.send(Ok(()));
    while let Ok((order, answer)) = ordered.recv() {
        let _ = answer.send(carry_out(&container, order).await);
    }
    let _ = container.rm().await;
}

async fn carry_out(container: &ContainerAsync<GenericImage>, order: Order) -> Answer {
    match order {
        Order::Kill => container.stop_with_timeout(Some(0)).await?,
        Order::Stop => container.stop_with_timeout(Some(60)).await?,
        Order::Start => container.start().await?,
        Order::Pause => container.pause().await?,
        Order::Resume => container.unpause().await?,
        Order::IsRunning => return Ok(container.is_running().await?.to_string()),
        Order::LastWords => {
            let mut text = container.stdout_to_vec().await?;
            text.extend(container.stderr_to_vec().await?);
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            return Ok(lines[lines.len().saturating_sub(12)..].join("\n"));
        }
    }
    Ok(String::new())
}

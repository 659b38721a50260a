//! Starts the shop as the environment says.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use shop::Shop;
use shop::config::Config;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// How long requests may take to end when the shop closes.
const CLOSING: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Result<(), shop::Error> {
    tracing_subscriber::fmt().with_target(false).with_ansi(std::io::stdout().is_terminal()).init();
    let config = Config::from_env()?;
    let shop = Shop::open(&config).await?;
    let listener =
        TcpListener::bind(config.addr).await.map_err(|error| format!("{}: {error}", config.addr))?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tracing::info!("the shop is open at http://{}", listener.local_addr()?);
    let service = Arc::clone(&shop).router().into_make_service_with_connect_info::<SocketAddr>();
    let closing = shop.closing();
    let told = {
        let shop = Arc::clone(&shop);
        async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            tracing::info!("closing");
            shop.begin_to_close();
        }
    };
    let serve = axum::serve(listener, service).with_graceful_shutdown(told).into_future();
    tokio::select! {
        result = serve => result?,
        () = async { closing.await; tokio::time::sleep(CLOSING).await } => tracing::warn!("some requests were cut off"),
    }
    shop.close().await;
    Ok(())
}

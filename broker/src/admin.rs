//! The admin endpoint: alive, ready, metrics. On a thread of its own, so that a slow scrape never stalls a core.

pub mod cores;
mod metrics;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use cores::Cores;

/// What the endpoint tells of the broker as a whole.
#[derive(Debug, Default)]
pub struct Health {
    ready: AtomicBool,
}

impl Health {
    /// Clients are served from now on, or no longer.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }
}

/// Writes what clients pushed.
pub type Clients = Box<dyn Fn() -> String + Send + Sync>;

/// What the handlers share.
#[derive(Clone)]
struct Admin {
    health: Arc<Health>,
    cores: Arc<Cores>,
    clients: Arc<Clients>,
}

/// A bound endpoint that does not answer yet.
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
    address: SocketAddr,
}

impl Endpoint {
    /// Takes the address; port 0 picks a free one.
    ///
    /// # Errors
    /// When somebody else has it.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it is, with the port that was picked.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers from now on, until the process ends; not ready until the health says so.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn serve(self, cores: Cores, clients: Clients) -> io::Result<Arc<Health>> {
        let health = Arc::new(Health::default());
        let admin = Admin { health: health.clone(), cores: Arc::new(cores), clients: Arc::new(clients) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        thread::Builder::new().name("admin".to_owned()).spawn(move || {
            let served = runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(self.listener)?;
                axum::serve(listener, router(admin)).await
            });
            if let Err(error) = served {
                tracing::error!(%error, "the admin endpoint ended");
            }
        })?;
        Ok(health)
    }
}

fn router(admin: Admin) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/metrics/clients", get(clients))
        .with_state(admin)
}

async fn ready(State(admin): State<Admin>) -> (StatusCode, &'static str) {
    if admin.health.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    match metrics::encode(admin.cores.snapshots().await) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn clients(State(admin): State<Admin>) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], (admin.clients)()).into_response()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, SocketAddr, TcpStream};
    use std::time::Duration;

    use shard::counters::{Counted, Counters, Gauge, Timed};

    use super::Endpoint;
    use super::cores::{Asked, Cores, channels};

    fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    fn start() -> (SocketAddr, std::sync::Arc<super::Health>, Vec<Asked>) {
        let endpoint = Endpoint::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = endpoint.address();
        let (ask, asked) = channels(2);
        let cores = Cores::new(ask, Duration::from_millis(300));
        (address, endpoint.serve(cores, Box::new(|| "# EOF\n".to_owned())).unwrap(), asked)
    }

    #[test]
    fn alive_at_once_and_ready_when_told() {
        let (address, health, _asked) = start();
        assert!(get(address, "/livez").starts_with("HTTP/1.1 200"));
        assert!(get(address, "/readyz").starts_with("HTTP/1.1 503"));
        health.set_ready(true);
        assert!(get(address, "/readyz").starts_with("HTTP/1.1 200"));
        assert!(get(address, "/metrics/clients").ends_with("\r\n\r\n# EOF\n"));
        assert!(get(address, "/other").starts_with("HTTP/1.1 404"));
    }

    #[test]
    fn metrics_show_the_cores_that_answer() {
        let (address, _health, mut asked) = start();
        // Core 0 answers, core 1 hangs.
        let mut core = asked.remove(0);
        let answering = std::thread::spawn(move || {
            let counters = Counters::default();
            counters.add(Counted::ProduceRequests, 5);
            counters.set(Gauge::MemoryRing, 4096);
            counters.time(Timed::Commit, Duration::from_micros(1500));
            counters.time(Timed::Commit, Duration::from_secs(100));
            let answer = futures_lite::future::block_on(core.recv()).unwrap();
            answer.send(counters.snapshot()).unwrap();
        });
        let response = get(address, "/metrics");
        answering.join().unwrap();
        for line in [
            "millrace_core_up{core=\"0\"} 1",
            "millrace_core_up{core=\"1\"} 0",
            "# TYPE millrace_produce_requests counter",
            "millrace_produce_requests_total{core=\"0\"} 5",
            "millrace_memory_bytes{core=\"0\",use=\"ring\"} 4096",
            "millrace_commit_seconds_count{core=\"0\"} 2",
            "millrace_commit_seconds_bucket{le=\"0.001\",core=\"0\"} 0",
            "millrace_commit_seconds_bucket{le=\"0.0025\",core=\"0\"} 1",
            "millrace_commit_seconds_bucket{le=\"+Inf\",core=\"0\"} 2",
            "# EOF",
        ] {
            assert!(response.lines().any(|found| found == line), "{line} is not in:\n{response}");
        }
        let sum =
            response.lines().find_map(|line| line.strip_prefix("millrace_commit_seconds_sum{core=\"0\"} "));
        let sum: f64 = sum.unwrap().parse().unwrap();
        assert!((99.0..103.0).contains(&sum), "{sum}");
    }
}

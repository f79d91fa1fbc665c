//! Asks what invariants of the user's own want to know, again and again.

use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::deep::DeepTier;
use super::fast::bounded;
use super::world::World;
use crate::invariant::own::{Answer, Http, Own};

/// The beginning of a body that reports show.
const START_CHARS: usize = 80;

/// Asks for all of them until the set is dropped; the newest answers are among the deep tier's results.
#[must_use]
pub fn ask(all: &[Own], world: &World, deep: &Arc<DeepTier>) -> JoinSet<()> {
    deep.forget_own();
    let mut tasks = JoinSet::new();
    for own in all.iter().cloned() {
        let (world, deep) = (world.clone(), deep.clone());
        tasks.spawn(async move {
            // What was read is one; a plan that somebody wrote by hand may not be, and then nothing matches.
            let body = own.http.body.as_deref().map(Regex::new);
            let mut rhythm = tokio::time::interval(Duration::from_millis(own.every_ms));
            rhythm.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                rhythm.tick().await;
                let within = Duration::from_millis(own.within_ms);
                let answer = answer(&world, &own.http, body.as_ref(), within);
                let probe = bounded(world.clock, within, answer).await;
                deep.keep_own(own.name, probe);
            }
        });
    }
    tasks
}

async fn answer(
    world: &World,
    http: &Http,
    body: Option<&Result<Regex, regex::Error>>,
    within: Duration,
) -> Result<Answer, String> {
    let (status, text) = world.jupyter.get(&http.url, within).await?;
    let matches = body.is_none_or(|body| body.as_ref().is_ok_and(|regex| regex.is_match(&text)));
    Ok(Answer { status, matches, start: text.chars().take(START_CHARS).collect() })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::invariant::Name;
    use crate::observe::fake::FakeMachines;
    use crate::observe::jupyter::Jupyter;
    use crate::runner::nowhere;

    /// Answers every request with this status and body.
    async fn server(status: u16, body: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 2048];
                let _ = stream.read(&mut request).await;
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn answers_come_again_and_again_until_the_set_is_dropped() {
        let proxy = server(200, "[1, 2]").await;
        let other = server(503, "oh no").await;
        let jupyter = Jupyter::new(&proxy, "t").expect("a client");
        let world =
            World::open("r", stormbed::clock::Clock::start(), nowhere(), Arc::new(FakeMachines::of(&[])), jupyter);
        let deep = Arc::new(DeepTier::new(world.clone(), tokio::sync::watch::channel(None).1));
        let own = |name: &str, url: &str, body: Option<&str>| Own {
            name: Name::of(name),
            about: String::new(),
            like: None,
            every_ms: 50,
            within_ms: 500,
            http: Http { url: url.into(), status: 200, body: body.map(str::to_owned) },
        };
        let all = [
            own("list", "/api/kernels", Some("^\\[")),
            own("wrong", "/api/kernels", Some("^\\{")),
            own("down", &other, None),
            own("nobody", "http://127.0.0.1:9/", None),
        ];
        let tasks = ask(&all, &world, &deep);
        tokio::time::sleep(Duration::from_millis(700)).await;
        let seen = deep.newest().own;
        let answer = |name: &str| seen[&Name::of(name)].result.clone();
        assert_eq!(answer("list"), Ok(Answer { status: 200, matches: true, start: "[1, 2]".into() }));
        assert!(answer("wrong").is_ok_and(|answer| !answer.matches));
        assert!(answer("down").is_ok_and(|answer| answer.status == 503));
        assert!(answer("nobody").is_err());
        let first = seen[&Name::of("list")].end;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(deep.newest().own[&Name::of("list")].end > first, "it is asked again");
        drop(tasks);
        let last = deep.newest().own[&Name::of("list")].end;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(deep.newest().own[&Name::of("list")].end.0 <= last.0 + 60, "nobody asks any more");
    }
}
